"""Opening, cutting and merging networks. Every function returns a new model and leaves its input alone."""

import copy
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from torch import Tensor, nn

from profiles.deprecated import renamed_argument
from pruner.algebra.modules import BatchNormPair, fold_batch_norms, folded_copy, folded_on
from pruner.algebra.oddities import check_around, copied
from pruner.choices.chain import Chain
from pruner.choices.choice import DROP, KEEP
from pruner.choices.plan import MergeInit, Plan
from pruner.choices.site import Site
from pruner.errors import UnknownModelError
from pruner.families import family_of
from pruner.network.outline import Outline, digest
from pruner.network.self_check import check_opened

ImageSize = tuple[int, int, int]
"""Channels, height, width."""

_OPENED_AT: Final = "opened_at"
"""Where an opened network, and what is merged of it, have the height and width of their images noted."""


@dataclass(frozen=True)
class Piece:
    """One stretch of a merged network: what stands before, between or after the blocks, or what became of a block.

    Pieces of equal signature and choice cost the same; the signature of what is no block is its name, and it is always
    kept. `build` makes the module, in evaluation mode and with its BatchNorms folded.
    """

    signature: str
    choice: str
    is_block: bool
    build: Callable[[], nn.Module]


class OpenNetwork(nn.Module):
    """A copy of a model in which a `Site` stands for every block; runs like the model until a site is told to cut."""

    def __init__(
        self, model: nn.Module, extra_choices: Collection[str] = (), input_size: Sequence[int] | None = None
    ) -> None:
        """`extra_choices` names choices that blocks have on request, and that are to be offered like any other;
        `input_size` is (channels, height, width) of the images, if not those of `input_size_of`.

        Raises `UnknownModelError` when the model is of no known family, or none of its blocks can be cut, and
        `OddModelError` when with all blocks kept it would not be the model: one whose classes were changed from
        outside. A block that was changed is kept as it is, and its `refused` says why.
        """
        super().__init__()
        self._family = family_of(model)
        self.network = copied(model)
        for module in self.network.modules():
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[assignment]  # the gate needs what went in beside what comes out
        self.sites: dict[str, Site] = {site.block.name: site for site in self._family.open(self.network)}
        check_around(model, self.sites)
        size = input_size_of(model, input_size)
        outline = self._check(model, size)
        for site in self.sites.values():
            site.offer(extra_choices)
        configuration: Any = getattr(model, "pretrained_cfg", None) or {}
        opened: Any = self.network
        opened.pretrained_cfg = {**configuration, _OPENED_AT: size[1:]}
        name = configuration.get("architecture", type(model).__name__)
        blocks = tuple(site.block for site in self.sites.values())
        if all(block.choices == (KEEP,) for block in blocks):
            reasons = "; ".join(dict.fromkeys(f"{why}" for block in blocks for _, why in block.refused))
            raise UnknownModelError(f"{name} is built like a {self._family.name}, but no block can be cut: {reasons}")
        computed = digest(outline.before_head), digest(outline.head)
        self.chain = Chain(name, self._family.name, size, blocks, *computed)

    def select(self, plan: Plan, lam: float = 0.0) -> None:
        """Switches every site to what `plan` makes of it, with the gate of the cut ones at `lam`."""
        self.chain.check(plan)
        normalised = self.chain.normalised(plan)
        for name, site in self.sites.items():
            choice = normalised.choice_of(name)
            site.select(choice, 1.0 if choice == KEEP else lam)

    @property
    def layers(self) -> dict[str, nn.Module]:
        """Block -> the layer with weights of its own that stands in for it as it is selected now."""
        return {name: site.layer(site.choice) for name, site in self.sites.items() if site.is_layer}

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits

    def pieces(self, plan: Plan) -> list[Piece]:
        """The network that `plan` leads to, merged, as the pieces it runs through one after another. They are built of
        this network's weights as they are when they are built."""
        self.chain.check(plan)
        plan, pairs = self.chain.normalised(plan), self.batch_norm_pairs()
        found = []
        for name, segment in self.segments().items():
            if isinstance(segment, Site):
                choice = plan.choice_of(name)
                if choice != DROP:
                    found.append(Piece(segment.block.signature, choice, True, partial(_built, segment, choice)))
            else:
                found.append(Piece(name, KEEP, False, partial(folded_copy, segment, pairs)))
        return found

    def segments(self) -> dict[str, nn.Module]:
        """What runs one after another, by name: sites, and what stands before, between and after them."""
        return self._family.segments(self.network)

    def batch_norm_pairs(self) -> list[BatchNormPair]:
        """The BatchNorms outside the sites, each with the convolution before it."""
        return self._family.batch_norm_pairs(self.network)

    def _check(self, model: nn.Module, size: ImageSize) -> Outline:
        """Proves that this is `model`, and puts the shape of its input into every block's signature."""
        shapes, outline = check_opened(model, self.network, self.sites, self.segments(), size)
        for name, (inputs, outputs) in shapes.items():
            site = self.sites[name]
            sides = "x".join(str(side) for side in inputs)
            signature = f"{site.block.kind} {sides}: {site.block.signature}"
            site.block = dataclasses.replace(site.block, signature=signature)
            site.note_shapes(inputs, outputs)
        return outline


def _built(site: Site, choice: str) -> nn.Module:
    module = site.merged(choice)
    assert module is not None, f"nothing is left of {site.block.name} as {choice}"
    return module.eval()


class Supernet(OpenNetwork):
    """The weight-sharing network: `select(plan)` makes it compute any plan's network over one set of weights.

    Each way of cutting a block keeps BatchNorm statistics of its own. Those behind the block are still shared.
    """

    def __init__(
        self, model: nn.Module, extra_choices: Collection[str] = (), input_size: Sequence[int] | None = None
    ) -> None:
        super().__init__(model, extra_choices, input_size)
        for site in self.sites.values():
            site.separate_statistics()


class Cut(OpenNetwork):
    """The network of one plan, unmerged and trainable: the baseline itself at lambda 1, mergeable at lambda 0.

    Blocks that the plan has fitted run as layers with weights of their own. With `merge_init` "fitted" so do those that
    it folds, where they fold into one layer: a start for its training that is nearer to the block than the folded
    weights are. "auto" has it so for blocks of images, and folds those of tokens.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        input_size: Sequence[int] | None = None,
        merge_init: MergeInit = "folded",
    ) -> None:
        super().__init__(model, input_size=input_size)
        self.plan = plan
        for name, choice in plan.choices.items():
            site = self.sites.get(name)
            if site is not None and (merge_init == "fitted" or (merge_init == "auto" and site.takes_images)):
                site.run_as_layer(choice)
        self.set_lambda(1.0)

    def set_lambda(self, lam: float) -> None:
        """Moves the gate of every block that the plan cuts. Raises `ValueError` outside [0, 1]."""
        self.set_lambdas(dict.fromkeys(self.plan.choices, lam))

    def set_lambdas(self, lams: Mapping[str, float]) -> None:
        """Moves the gates one by one: block -> lambda, for every block that the plan cuts. Raises `ValueError` outside
        [0, 1], and for blocks that are not those of the plan."""
        if lams.keys() != self.plan.choices.keys():
            raise ValueError(f"the plan cuts {', '.join(self.plan.choices)}; lambdas came for {', '.join(lams)}")
        if not all(0 <= lam <= 1 for lam in lams.values()):
            raise ValueError(f"lambda runs from 1 to 0, not to {max(lams.values(), key=lambda lam: abs(lam - 0.5))}")
        self.select(self.plan, 0.0)
        for name in self.chain.normalised(self.plan).choices:
            self.sites[name].select(self.plan.choices[name], lams[name])
        self.lam = max(lams.values(), default=0.0)


def input_size_of(model: nn.Module, asked: Sequence[int] | None = None) -> ImageSize:
    """(channels, height, width) of the images that a timm model takes.

    As `asked`; else the channels are those of its first convolution, and the sides what the network fixes, as a ViT
    does, what it was opened or loaded at, or what timm's configuration says. A network of any size that nothing is
    known of is taken to be for 224 x 224.

    Raises `ValueError` for what is no size, or has other channels than the network.
    """
    configuration: Any = getattr(model, "pretrained_cfg", None) or {}
    known = configuration.get("input_size", (3, 224, 224))
    channels = _first_channels(model, configuration) or known[0]
    if asked is not None:
        if len(asked) != 3 or not all(isinstance(side, int) and side > 0 for side in asked):
            raise ValueError(f"input_size is (channels, height, width), such as (3, 224, 224), not {asked!r}")
        if asked[0] != channels:
            raise ValueError(f"this {type(model).__name__} takes images of {channels} channels, not {asked[0]}")
        return channels, asked[1], asked[2]
    embed: Any = getattr(model, "patch_embed", None)
    sides = getattr(embed, "img_size", None) or known[1:]
    if not getattr(embed, "strict_img_size", False):
        sides = configuration.get(_OPENED_AT, sides)
    return channels, *sides


def _first_channels(model: nn.Module, configuration: Mapping[str, Any]) -> int | None:
    """The channels of what comes to the first convolution of the network as it stands; None where it has none."""
    named = configuration.get("first_conv") or ""
    name = named if isinstance(named, str) else named[0]
    modules = dict(model.named_modules())
    convolutions = (module for module in modules.get(name, model).modules() if isinstance(module, nn.Conv2d))
    first = next(convolutions, None) or next((one for one in modules.values() if isinstance(one, nn.Conv2d)), None)
    return None if first is None else first.in_channels


@renamed_argument("also", "extra_choices")
def describe(
    model: nn.Module, extra_choices: Collection[str] = (), *, input_size: Sequence[int] | None = None
) -> Chain:
    """The chain of blocks where `model` may be cut, those of `extra_choices` offered that are on request.

    `input_size` is (channels, height, width) of its images; without it see `input_size_of`. Raises `UnknownModelError`
    when no family recognises the model, or it takes no such images.
    """
    return OpenNetwork(model, extra_choices, input_size).chain


@renamed_argument("also", "extra_choices")
def supernet(
    model: nn.Module, extra_choices: Collection[str] = (), *, input_size: Sequence[int] | None = None
) -> Supernet:
    """The weight-sharing network of `model`, which is left alone; those of `extra_choices` that are on request are
    offered too."""
    return Supernet(model, extra_choices, input_size)


def apply(
    model: nn.Module, plan: Plan, *, input_size: Sequence[int] | None = None, merge_init: MergeInit = "folded"
) -> Cut:
    """`model` cut by `plan`, at lambda 1; see `Cut` for what merged blocks start from. Raises `PlanError` when the plan
    does not fit."""
    return Cut(model, plan, input_size, merge_init)


def merge(cut: Cut) -> nn.Module:
    """A new network without a class of ours in it that computes what `cut` computes in evaluation at lambda 0.

    BatchNorms are folded, in kept blocks too. Two merged layers in a row become one where that is exact and takes
    no more multiplications.

    Raises `ValueError` when the gate of `cut` is not at 0: a half-cut network has no merged form.
    """
    if cut.lam != 0:
        raise ValueError(f"only a network at lambda 0 can be merged; this one is at {cut.lam}")
    # The sites are replaced one by one: what they hold is not copied with the rest.
    placeholders: dict[int, Any] = {id(site): nn.Identity() for site in cut.sites.values()}
    network, pairs = copy.deepcopy((cut.network, cut.batch_norm_pairs()), placeholders)
    fold_batch_norms(network, pairs)
    before: tuple[str, nn.Module] | None = None
    normalised = cut.chain.normalised(cut.plan)
    for name, segment in cut.segments().items():
        module = segment.merged(normalised.choice_of(name)) if isinstance(segment, Site) else None
        if not isinstance(segment, Site):
            before = None
        elif module is None:
            _remove(network, name)
        else:
            both = before and folded_on(before[1], module)
            if before and both:
                _remove(network, before[0])
                module = both
            network.set_submodule(name, module)
            before = name, module
    return network.eval()


def _remove(network: nn.Module, name: str) -> None:
    """Takes a submodule out of its Sequential; and that out of the one around it, if nothing is left in it."""
    path, _, leaf = name.rpartition(".")
    parent = network.get_submodule(path)
    delattr(parent, leaf)
    around = network.get_submodule(path.rpartition(".")[0])
    if isinstance(around, nn.Sequential) and not len(list(parent.children())):
        _remove(network, path)
