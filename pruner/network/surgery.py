"""Opening, cutting and merging networks. Every function returns a new model and leaves its input alone."""

import copy
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from profiles.deprecated import renamed_argument
from pruner.algebra.answer import answer_of
from pruner.algebra.flow import Part, Wire, bridged
from pruner.algebra.modules import BatchNormPair, fold_batch_norms, folded_copy, folded_on
from pruner.algebra.oddities import check_around, copied, unwrapped
from pruner.anatomy.sites import BRANCH
from pruner.anatomy.traced import Traced
from pruner.choices.chain import Chain
from pruner.choices.choice import DROP, KEEP
from pruner.choices.plan import MergeInit, Plan
from pruner.choices.site import Site
from pruner.errors import UnknownModelError
from pruner.families import family_of
from pruner.network.image_size import OPENED_AT, ImageSize, input_size_of
from pruner.network.outline import Outline, digest
from pruner.network.self_check import check_opened


@dataclass(frozen=True)
class Piece:
    """One piece of a merged network: a block as its choice makes it, or what stands before, between or after blocks.

    Pieces of equal signature and choice cost the same.

    Attributes:
        signature: The signature of the block; the name of a piece that is no block.
        choice: The choice for the block; `keep` for a piece that is no block.
        wire: How it is connected with the other pieces.
        build: Makes the module, in evaluation mode and with its BatchNorms folded.
    """

    signature: str
    choice: str
    is_block: bool
    wire: Wire
    build: Callable[[], nn.Module]


class OpenNetwork(nn.Module):
    """A copy of a model with a `Site` in place of every block; it runs like the model until a cut is selected.

    Attributes:
        network: The copy that holds the sites.
        sites: Block -> its site, in the order in which the blocks run.
        chain: The blocks of the model and their choices.
        rows: The paths of the Sequentials that run as such: one module of theirs after another.
    """

    def __init__(
        self, model: nn.Module, extra_choices: Collection[str] = (), input_size: Sequence[int] | None = None
    ) -> None:
        """Opens a copy of `model`, and checks on one image that the copy computes the same.

        A block that was changed from outside can only be kept, and its `refused` says why.

        Args:
            extra_choices: Names of choices that blocks have on request, to be offered like any other.
            input_size: (channels, height, width) of the images; without it see `input_size_of`.

        Raises:
            UnknownModelError: when no family recognises the model, it takes no such images, or no block can be cut.
            OddModelError: when the model was changed from outside so that its opened copy would not compute the same.
        """
        super().__init__()
        model = unwrapped(model)
        size = input_size_of(model, input_size)
        self._family = family_of(model) or Traced(size)
        self.network = copied(model)
        for module in self.network.modules():
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[assignment]  # the gate needs the input beside the output
        self.sites: dict[str, Site] = {site.block.name: site for site in self._family.open(self.network)}
        check_around(model, self.sites)
        outline = self._check(model, size)
        for site in self.sites.values():
            site.offer(extra_choices)
        configuration: Any = getattr(model, "pretrained_cfg", None) or {}
        opened: Any = self.network
        opened.pretrained_cfg = {**configuration, OPENED_AT: size[1:]}
        name = configuration.get("architecture", type(model).__name__)
        blocks = tuple(site.block for site in self.sites.values())
        if all(block.choices == (KEEP,) and not block.on_request for block in blocks):
            reasons = "; ".join(dict.fromkeys(f"{why}" for block in blocks for _, why in block.refused))
            raise UnknownModelError(f"no block of {name} can be cut: {reasons}")
        computed = digest(outline.before_head), digest(outline.head)
        self.chain = Chain(name, self._family.name, size, blocks, *computed, tuple(self._family.refused.items()))

    def select(self, plan: Plan, lam: float = 0.0) -> None:
        """Selects the choice of `plan` at every site.

        Args:
            lam: The gate of the cut blocks, from 1 (the block itself) to 0 (what the choice merges to).

        Raises:
            PlanError: when the plan does not fit the network.
        """
        self.chain.check(plan)
        normalised = self.chain.normalised(plan)
        for name, site in self.sites.items():
            choice = normalised.choice_of(name)
            site.select(choice, 1.0 if choice == KEEP else lam)

    @property
    def layers(self) -> dict[str, nn.Module]:
        """Block -> its layer, for the blocks whose selected choice runs as a layer with weights of its own."""
        return {name: site.layer(site.choice) for name, site in self.sites.items() if site.is_layer}

    def forward(self, images: Tensor) -> Tensor:
        """Runs the network with its selected choices: images (B, C, H, W) -> its answer: logits (B, classes)."""
        return answer_of(self.network(images))

    def pieces(self, plan: Plan) -> list[Piece]:
        """Returns the merged network of `plan` as pieces that run one after another.

        Dropped blocks have no piece. A piece takes the weights that this network has at the time when it is built.

        Raises:
            PlanError: when the plan does not fit the network.
        """
        self.chain.check(plan)
        plan, pairs = self.chain.normalised(plan), self.batch_norm_pairs()
        found = []
        for part in self.parts_left(plan):
            if isinstance(part.module, Site):
                choice = plan.choice_of(part.name)
                build = partial(_built, part.module, choice)
                found.append(Piece(part.module.block.signature, choice, True, part.wire, build))
            else:
                found.append(Piece(part.name, KEEP, False, part.wire, partial(folded_copy, part.module, pairs)))
        return found

    def parts(self) -> list[Part]:
        """Returns the sites, and what is computed before, between and after them, in the order in which they run."""
        return self._family.parts(self.network)

    def parts_left(self, plan: Plan) -> list[Part]:
        """Returns the parts without the blocks that a plan drops, connected with one another.

        Args:
            plan: The plan, normalised.
        """
        parts = self.parts()
        gone = [place for place, part in enumerate(parts) if plan.choice_of(part.name) == DROP]
        left = [part for place, part in enumerate(parts) if place not in gone]
        wires = bridged([part.wire for part in parts], gone)
        return [dataclasses.replace(part, wire=wire) for part, wire in zip(left, wires, strict=True)]

    def batch_norm_pairs(self) -> list[BatchNormPair]:
        """Returns the BatchNorms outside the sites, each with the convolution before it."""
        return self._family.batch_norm_pairs(self.network)

    def _check(self, model: nn.Module, size: ImageSize) -> Outline:
        """Checks that this computes what `model` does, and puts the shape of its input into every block's signature."""
        seen, outline, self.rows = check_opened(model, self.network, self.sites, self.parts(), size)
        for name, at in seen.items():
            site = self.sites[name]
            sides = "x".join(str(side) for side in at.inputs)
            signature = f"{site.block.kind} {sides}: {site.block.signature}"
            # What is in no family is known by its code alone, which a class's name and its weights do not tell.
            signature += f" #{at.computed}" if site.block.kind == BRANCH and site.is_opaque else ""
            site.block = dataclasses.replace(site.block, signature=signature)
            site.note_shapes(at.inputs, at.outputs)
        return outline


def _built(site: Site, choice: str) -> nn.Module:
    module = site.merged(choice)
    assert module is not None, f"nothing is left of {site.block.name} as {choice}"
    return module.eval()


class Supernet(OpenNetwork):
    """The weight-sharing network: `select(plan)` makes it compute any plan's network over one set of weights.

    Each choice for a block has BatchNorm statistics of its own. BatchNorms behind the block still share theirs among
    the choices for this block.

    Example:
        >>> from depthfinder.testing.samples import small_network, some_images
        >>> Supernet(small_network())(some_images(2)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self, model: nn.Module, extra_choices: Collection[str] = (), input_size: Sequence[int] | None = None
    ) -> None:
        super().__init__(model, extra_choices, input_size)
        for site in self.sites.values():
            site.separate_statistics()


class Cut(OpenNetwork):
    """The network of one plan, unmerged and trainable: the baseline itself at lambda 1, mergeable at lambda 0.

    Blocks that the plan fits run as layers with weights of their own.

    Attributes:
        plan: The plan.
        lam: The largest lambda of the cut blocks now.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> cut = Cut(small_network(), Plan("deit_tiny_patch16_224", {"blocks.0.mlp": "merge"}))
        >>> cut.set_lambda(0.5)
        >>> cut.lam, cut.plan.text
        (0.5, 'blocks.0.mlp merge')
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan | None,
        input_size: Sequence[int] | None = None,
        merge_init: MergeInit = "folded",
    ) -> None:
        """Opens a copy of `model` and selects `plan` at lambda 1.

        Args:
            plan: The plan of the cut; without one nothing is cut.
            input_size: (channels, height, width) of the images; without it see `input_size_of`.
            merge_init: What blocks that the plan folds start their training from. "folded": their own weights.
                "fitted": where they fold into one layer, a layer with weights of its own; once it is fitted, it is
                nearer to the block than the folded weights are. "auto": "fitted" for images, "folded" for tokens.

        Raises:
            PlanError: when the plan does not fit the network.
        """
        super().__init__(model, input_size=input_size)
        self.plan = plan or Plan(self.chain.model)
        for name, choice in self.plan.choices.items():
            site = self.sites.get(name)
            if site is not None and (merge_init == "fitted" or (merge_init == "auto" and site.takes_images)):
                site.run_as_layer(choice)
        self.set_lambda(1.0)

    def set_lambda(self, lam: float) -> None:
        """Moves the gate of every block that the plan cuts to `lam`. Raises `ValueError` outside [0, 1]."""
        self.set_lambdas(dict.fromkeys(self.plan.choices, lam))

    def set_lambdas(self, lams: Mapping[str, float]) -> None:
        """Moves the gates one by one.

        Args:
            lams: Block -> lambda, for every block that the plan cuts.

        Raises:
            ValueError: when a lambda is outside [0, 1], or the blocks are not those that the plan cuts.
        """
        if lams.keys() != self.plan.choices.keys():
            raise ValueError(f"the plan cuts {', '.join(self.plan.choices)}; lambdas came for {', '.join(lams)}")
        if not all(0 <= lam <= 1 for lam in lams.values()):
            raise ValueError(f"lambda runs from 1 to 0, not to {max(lams.values(), key=lambda lam: abs(lam - 0.5))}")
        self.select(self.plan, 0.0)
        for name in self.chain.normalised(self.plan).choices:
            self.sites[name].select(self.plan.choices[name], lams[name])
        self.lam = max(lams.values(), default=0.0)


@renamed_argument("also", "extra_choices")
def describe(
    model: nn.Module, extra_choices: Collection[str] = (), *, input_size: Sequence[int] | None = None
) -> Chain:
    """Returns the chain of blocks where `model` may be cut.

    Args:
        model: The network, which is left alone.
        extra_choices: Names of choices that blocks have on request, to be offered like any other.
        input_size: (channels, height, width) of the images; without it see `input_size_of`.

    Raises:
        UnknownModelError: when no family recognises the model, it takes no such images, or no block can be cut.
        OddModelError: when the model was changed from outside so that it cannot be opened.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> for block in describe(small_network()).blocks[:2]:
        ...     print(block.name, block.choices)
        blocks.0.attn ('keep', 'drop')
        blocks.0.mlp ('keep', 'merge', 'drop')
    """
    return OpenNetwork(model, extra_choices, input_size).chain


@renamed_argument("also", "extra_choices")
def supernet(
    model: nn.Module, extra_choices: Collection[str] = (), *, input_size: Sequence[int] | None = None
) -> Supernet:
    """Returns the weight-sharing network of `model`, which is left alone.

    Arguments and errors are those of `describe`.

    Example:
        >>> from depthfinder.testing.samples import small_network, some_images
        >>> network = supernet(small_network())
        >>> network.select(network.chain.plan({"blocks.0.mlp": "merge"}))
        >>> network(some_images(2)).shape
        torch.Size([2, 10])
    """
    return Supernet(model, extra_choices, input_size)


def apply(
    model: nn.Module, plan: Plan, *, input_size: Sequence[int] | None = None, merge_init: MergeInit = "folded"
) -> Cut:
    """Returns a copy of `model` cut by `plan`, at lambda 1; arguments and errors are those of `Cut`.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> model = small_network()
        >>> cut = apply(model, describe(model).plan({"blocks.0.mlp": "merge", "blocks.1.attn": "drop"}))
        >>> cut.lam, cut.plan.text
        (1.0, 'blocks.0.mlp merge, blocks.1.attn drop')
    """
    return Cut(model, plan, input_size, merge_init)


def merge(cut: Cut) -> nn.Module:
    """Returns a new network of torch and timm modules that computes what `cut` does in evaluation at lambda 0.

    BatchNorms are folded, in kept blocks too. Two merged layers in a row become one where that is exact and takes
    no more multiplications.

    Raises:
        ValueError: when a gate of `cut` is not at 0: a half-cut network has no merged form.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> cut = apply(small_network(), Plan("deit_tiny_patch16_224", {"blocks.0.mlp": "merge"}))
        >>> cut.set_lambda(0.0)
        >>> merge(cut).blocks[0].mlp
        Linear(in_features=24, out_features=24, bias=True)
    """
    if cut.lam != 0:
        raise ValueError(f"only a network at lambda 0 can be merged; this one is at {cut.lam}")
    # The sites are replaced one by one below, so that their content need not be copied with the rest.
    placeholders: dict[int, Any] = {id(site): nn.Identity() for site in cut.sites.values()}
    network, pairs = copy.deepcopy((cut.network, cut.batch_norm_pairs()), placeholders)
    fold_batch_norms(network, pairs)
    normalised = cut.chain.normalised(cut.plan)
    for name, choice in normalised.choices.items():
        if choice == DROP:
            _remove(network, name, cut.rows)
    before: tuple[Part, nn.Module] | None = None
    for part in cut.parts_left(normalised):
        if not isinstance(part.module, Site):
            before = None
            continue
        module = _built(part.module, normalised.choice_of(part.name))
        both = folded_on(before[1], module) if before and part.wire.follows(before[0].wire) else None
        if before and both:
            _remove(network, before[0].name, cut.rows)
            module = both
        network.set_submodule(part.name, module)
        before = part, module
    return network.eval()


def _remove(network: nn.Module, name: str, rows: Collection[str]) -> None:
    """Takes a submodule out of its row, and an emptied row out of the one around it.

    An identity takes the place of a submodule that stands anywhere else.

    Args:
        network: The network, which is changed.
        name: The path of the submodule.
        rows: The paths of the Sequentials that run as such.
    """
    path, _, leaf = name.rpartition(".")
    parent = network.get_submodule(path)
    if path not in rows:
        parent.register_module(leaf, nn.Identity())
        return
    delattr(parent, leaf)
    if path.rpartition(".")[0] in rows and not len(list(parent.children())):
        _remove(network, path, rows)
