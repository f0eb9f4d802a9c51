"""Sites: the places where an opened network may be cut, with a path for every choice over one set of weights."""

import copy
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from pruner.algebra.branch import batch_norm_pairs, why_not
from pruner.algebra.modules import BatchNormPair, folded_copy
from pruner.algebra.oddities import first_oddity, oddity
from pruner.algebra.steps import Opaque, Scale, Step, Switch, run_in_turn
from pruner.choices.chain import Block
from pruner.choices.choice import DROP, FITS, KEEP, MERGE, OWN_WEIGHTS, SHARES
from pruner.choices.forms import Dropped, Folded, Form, LeftOut, Residual
from pruner.choices.hidden import Hidden, hidden_of, narrowed
from pruner.choices.stand_ins import MOST_FEATURES, Fitted, layer_like, new_layer, offered, own_depthwise

_OF_NO_ACCOUNT: Final = 1e-6
"""A choice with no more than this share of a mixture is not run: single precision would hardly see it."""


class Site(nn.Module):
    """Takes the place of a block in an opened network, and computes what the selected choice makes of the block.

    The gate `lam` runs from 1, where every choice computes exactly what the block did, to 0, where `merged` is exact.

    Attributes:
        block: The block with its choices.
        kept: The block's own module.
        norms: The BatchNorms that choices need and that the block does not have.
        stand_ins: Choice -> the layer with weights of its own that stands in for the block. Each is made when it is
            first selected, because together they may be larger than the network.
        choice: The choice that is selected now.
        lam: Where its gate stands now, from 1 to 0.
        hidden: The inner width of the block; None where it has none that can be narrowed.
        channels_stand_last: Whether images come as (H, W, C). Nothing is fitted to such a block yet.

    Example:
        >>> import torch
        >>> from depthfinder.testing.samples import small_network
        >>> from pruner.network.surgery import supernet
        >>> site = supernet(small_network()).sites["blocks.0.mlp"]
        >>> site.block.choices
        ('keep', 'merge', 'drop')
        >>> site.select("drop", 0.0)
        >>> tokens = torch.ones(1, 17, 24)
        >>> torch.equal(site(tokens), tokens)
        True
        >>> site.merged("merge")
        Linear(in_features=24, out_features=24, bias=True)
    """

    def __init__(
        self,
        block: Block,
        kept: nn.Module,
        anatomy: Residual,
        forms: Mapping[str, Form],
        norms: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        self.block = block
        self.kept = kept
        self.norms = nn.ModuleList(norms)
        self.stand_ins = nn.ModuleDict()
        self.choice = KEEP
        self.lam = 1.0
        self._shares: Mapping[str, Tensor] | None = None
        # No module registers these: they hold the modules of `kept`, which would then stand in the network twice.
        self._anatomy = anatomy
        self._forms = dict(forms)
        self.hidden: Hidden | None = None
        self.channels_stand_last = False
        self._shape: torch.Size | None = None
        self._outputs: torch.Size | None = None

    def note_shapes(self, inputs: torch.Size, outputs: torch.Size) -> None:
        """Notes the shapes of the block, and adds the fitted choices that they allow to those on request.

        A block whose output has the shape of its input may have a layer fitted in its place, and a block with an inner
        width may be narrowed. Neither is offered for a block about which something is odd: whoever changed it meant
        the change to be there.

        Args:
            inputs: The shape of the block's input, without the batch.
            outputs: The shape of its output, without the batch.
        """
        if first_oddity(self.kept) is not None or not any(True for _ in self.kept.parameters()):
            return
        if self.channels_stand_last and len(inputs) != 2:
            return
        stand_ins: tuple[str, ...] = ()
        self._outputs = outputs
        self.hidden = self.hidden or hidden_of(self._anatomy)
        if self.hidden is not None and self.hidden.features <= MOST_FEATURES:
            stand_ins += self.hidden.offered
        if inputs == outputs:
            self._shape = inputs
            stand_ins += offered(inputs, own_depthwise=own_depthwise(self._anatomy) is not None)
        self.block = dataclasses.replace(self.block, on_request=self.block.on_request + stand_ins)

    @property
    def may_be_fitted(self) -> bool:
        """Whether a layer can be fitted in the block's place."""
        return self._shape is not None

    @property
    def takes_images(self) -> bool:
        """Whether the block gives images (C, H, W), not tokens, and another layer may stand in for it."""
        return self._outputs is not None and len(self._outputs) == 3

    @property
    def fitted_choices(self) -> tuple[str, ...]:
        """The choices of the block whose layer is fitted.

        These are the choices with weights of their own, and those that run as a layer already. Where a block changes
        the shape of its images, so that no new layer can take its place, the choices that fold to one layer count too.
        """
        folds = self.takes_images and not self.may_be_fitted
        return tuple(
            choice
            for choice in self.block.choices
            if choice in OWN_WEIGHTS or choice in self.stand_ins or (folds and self._layer_like(choice) is not None)
        )

    @property
    def ends_with(self) -> str:
        """The name of the activation that ends the block; empty where none does."""
        return "" if self._anatomy.end is None else self._anatomy.end.text

    @property
    def channels(self) -> int:
        """How many channels the output has of a block that another layer may stand in for."""
        assert self._outputs is not None, "nothing may stand in for this block"
        return self._outputs[1] if len(self._outputs) == 2 else self._outputs[0]

    def layer(self, choice: str) -> nn.Module:
        """Returns the layer of a choice that is fitted; a choice that folds runs as that layer from then on."""
        self.run_as_layer(choice)
        self._form(choice)
        return self.stand_ins[choice]

    @property
    def is_layer(self) -> bool:
        """Whether the chosen path is a layer with weights of its own."""
        return self.choice in self.stand_ins

    def run_as_layer(self, choice: str) -> None:
        """Lets a choice that folds run as a layer of the kind that it merges to, with weights of its own.

        The layer returns its input until it is fitted. A choice that merges to more than one layer, or to a larger
        layer than can be fitted, is left as it is.
        """
        layer = self._layer_like(choice)
        if layer is not None:
            self._stand_in(choice, layer)

    def _layer_like(self, choice: str) -> nn.Module | None:
        """A new layer of the kind that a choice folds to; None where it folds to more, or has its layer already."""
        if self._outputs is None or choice in self.stand_ins or not isinstance(self._forms.get(choice), Folded):
            return None
        # On tensors without values: folding a large kernel takes seconds.
        merged = copy.deepcopy(self).to("meta").merged(choice)
        assert merged is not None, "what folds leaves a layer"
        return layer_like(merged, self._anatomy, self._shape, next(self.kept.parameters()))

    @torch.no_grad()
    def with_layer(self, choice: str, weights: Mapping[str, Tensor]) -> nn.Module:
        """Returns what the block merges to as a fitted choice, with other weights in its layer.

        Args:
            choice: One of `fitted_choices`.
            weights: The layer's parameters by name, as in its state dict; they are rounded once to the layer's dtype.
        """
        self.layer(choice)
        form = self._forms[choice]
        assert isinstance(form, Fitted), f"{choice} has no layer of its own"
        layer, batch_norms = copy.deepcopy((form.layer, form.batch_norms))
        layer.load_state_dict({**layer.state_dict(), **weights})
        return dataclasses.replace(form, layer=layer, batch_norms=batch_norms).merged().eval()

    def narrowed(self, units: Tensor) -> tuple[nn.Module, list[BatchNormPair]]:
        """Returns a copy of the block with only these units of its inner width, and the BatchNorm pairs of the copy.

        The activation that ends the block is left out. See `pruner.choices.hidden.narrowed`.
        """
        assert self.hidden is not None, "only a block with an inner width is narrowed"
        return narrowed(self.kept, self._anatomy, self.hidden, units)

    def beside(self, x: Tensor) -> Tensor | None:
        """Returns what the block's shortcut makes of `x`; None for a block without a shortcut."""
        shortcut = self._anatomy.shortcut
        return None if shortcut is None else run_in_turn(shortcut, x, 1.0)

    def before_end(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the block's output before and after the activation that ends it; the same twice where none does."""
        end = self._anatomy.end
        if end is None:
            whole: Tensor = self.kept(x)
            return whole, whole
        y = self._anatomy.before_end(x)
        return y, end.run(y, 1.0)

    def offer(self, extra_choices: Collection[str]) -> None:
        """Makes those of `extra_choices` that are on request choices like any other."""
        self.block = self.block.offering(extra_choices)

    def only_keep(self, why: str) -> None:
        """Takes away all choices but `keep`, because of `why`."""
        self.block, self._anatomy, self._forms = _only_kept(self.block.name, self.block.kind, self.kept, why)
        self.norms = nn.ModuleList()

    @property
    def is_opaque(self) -> bool:
        """Whether the branch is one step of which nothing is known but what it gives."""
        return all(isinstance(step, Opaque) for step in self._anatomy.branch)

    def runs_by_steps(self, x: Tensor) -> Tensor | None:
        """Returns what the block's steps make of `x` one after another; None where all steps are opaque.

        For a block that its family describes rightly, this is what the block computes.
        """
        if self.is_opaque:
            return None
        return self._anatomy.run(x)

    def select(self, choice: str, lam: float) -> None:
        """Selects the path that `forward` takes.

        Args:
            choice: One of the block's choices, or one that is on request.
            lam: Where its gate stands: 1 is the block itself, 0 what the choice merges to.
        """
        self.choice, self.lam, self._shares = choice, lam, None
        if choice != KEEP:
            self._form(choice)

    def mix(self, shares: Mapping[str, Tensor]) -> None:
        """Lets `forward` give a weighted sum of what several choices compute at `lam` 0, until one is selected.

        Args:
            shares: Choice -> its weight, a tensor of one number that may learn.
        """
        self._shares = shares

    def forward(self, x: Tensor) -> Tensor:
        """Runs the selected path, or the mixture, on images (B, C, H, W) or tokens (B, N, C)."""
        if self._shares is not None:
            ways = [share * self._at_zero(c, x) for c, share in self._shares.items() if share.detach() > _OF_NO_ACCOUNT]
            return torch.stack(ways).sum(0)
        if self.choice == KEEP or (self.lam == 1 and not any(norm.training for norm in self.norms)):
            y: Tensor = self.kept(x)
            return y
        return self._form(self.choice).run(x, self.lam)

    def _at_zero(self, choice: str, x: Tensor) -> Tensor:
        """What the choice computes at lambda 0."""
        y: Tensor = self.kept(x) if choice == KEEP else self._form(choice).run(x, 0.0)
        return y

    def _form(self, choice: str) -> Form:
        """The form of a choice. The layer of a fitted choice is made when the form is first asked for."""
        if choice in SHARES and choice not in self._forms:
            assert self.hidden is not None, "only blocks with an inner width have such choices"
            best = self.hidden.by_weights()[: self.hidden.kept_count(choice)]
            self._stand_in(choice, *self.narrowed(best.sort().values))
        if choice in FITS and choice not in self._forms:
            assert self._shape is not None, "only blocks that give what they take have such choices"
            like = next(self.kept.parameters())
            self._stand_in(choice, new_layer(choice, self._anatomy, self._shape, like))
        return self._forms[choice]

    def _stand_in(self, choice: str, layer: nn.Module, batch_norms: Sequence[BatchNormPair] = ()) -> None:
        self.stand_ins[choice] = layer.train(self.training)
        self._forms[choice] = Fitted(self._anatomy, self.kept, layer, batch_norms)

    def ending(self) -> nn.Parameter:
        """Returns the last weights of the branch, which its output is proportional to, but for a bias.

        They are the matrix of its last layer, or the factors of the norm or the layer scale behind that layer.
        """
        for step in reversed(self._anatomy.branch):
            if isinstance(step, Scale):
                gamma: nn.Parameter = step.owner.gamma
                return gamma
            weights = [parameter for parameter in step.parameters() if parameter.ndim > 1] or step.parameters()[:1]
            if weights:
                return weights[-1]
        raise AssertionError(f"{self.block.name} has no weights, so nothing of it can be cut")

    def separate_statistics(self) -> None:
        """Gives every choice but `keep` BatchNorm statistics of its own, over the same weights."""
        for choice in self.block.choices[1:]:
            self._forms[choice] = self._form(choice).with_own_statistics(self.norms)

    def switches(self) -> list[Switch]:
        """Returns the steps of the selected form that have a BatchNorm which the baseline does not have."""
        return [] if self.choice == KEEP else self._form(self.choice).switches()

    def merged(self, choice: str) -> nn.Module | None:
        """Returns what a choice computes at `lam` 0 in evaluation, as torch and timm modules with their own weights.

        A kept block has its BatchNorms folded. None is returned when nothing is left of the block.
        """
        if choice != KEEP:
            return self._form(choice).merged()
        steps = [self._anatomy.branch, self._anatomy.shortcut or ()]
        return folded_copy(self.kept, [pair for some in steps for pair in batch_norm_pairs(some)])


def make_site(
    name: str,
    kind: str,
    kept: nn.Module,
    anatomy: Residual,
    ways: Mapping[str, tuple[tuple[Step, ...], ...]],
    norms: Sequence[nn.Module] = (),
    on_request: Mapping[str, Form | str] | None = None,
) -> Site:
    """Returns the site of a block, with the choices that its steps allow.

    The block may be dropped if its shortcut is the identity, or if it has none and gives the shape that it takes. It
    may be folded in each of the given ways if all steps of that way fold. It can only be kept where something is odd
    about a module whose inside alone the steps run.

    Args:
        name: The block's module path.
        kind: The family and the kind of block, such as `vit.ffn`.
        kept: The block's own module.
        anatomy: What the block computes.
        ways: Choice -> the parts of the branch, each of which becomes one layer.
        norms: The BatchNorms that choices need and that the block does not have.
        on_request: Choice -> its form, or the reason why the block cannot have it. A form that folds is offered only
            where one of the ways folds too.
    """
    odd = _bypassed_oddity(kept, anatomy)
    if odd is not None:
        return kept_site(name, kind, kept, odd)
    reasons = {choice: why_not([step for part in parts for step in part]) for choice, parts in ways.items()}
    forms: dict[str, Form] = {
        choice: Folded(anatomy, parts) for choice, parts in ways.items() if reasons[choice] is None
    }
    asked = on_request or {}
    requested = {
        choice: form
        for choice, form in asked.items()
        if isinstance(form, Form) and (forms or not isinstance(form, Folded))
    }
    refused = {choice: reason for choice, reason in reasons.items() if reason is not None}
    refused |= {choice: reason for choice, reason in asked.items() if isinstance(reason, str)}
    if anatomy.shortcut == ():
        forms[DROP] = Dropped(anatomy)
    elif anatomy.is_square:
        forms[DROP] = LeftOut(anatomy)
    else:
        refused[DROP] = "it has no shortcut that hands on its input as it is"
    block = Block(
        name=name,
        kind=kind,
        signature=anatomy.text if first_oddity(kept) is None else f"{anatomy.text} of {name}",
        choices=(KEEP, *forms),
        on_request=tuple(requested),
        refused=tuple(refused.items()),
    )
    return Site(block, kept, anatomy, forms | requested, norms)


def kept_site(name: str, kind: str, kept: nn.Module, why: str) -> Site:
    """Returns the site of a block that can only be kept, because of `why`."""
    block, anatomy, forms = _only_kept(name, kind, kept, why)
    return Site(block, kept, anatomy, forms, [])


def _only_kept(name: str, kind: str, kept: nn.Module, why: str) -> tuple[Block, Residual, dict[str, Form]]:
    """Block, anatomy and forms of a site that offers `keep` alone. The signature of an odd block contains its name, so
    that no other block is taken to cost the same."""
    anatomy = Residual((Opaque(kept, why),), None)
    signature = anatomy.text if first_oddity(kept) is None else f"{anatomy.text} of {name}"
    return Block(name, kind, signature, (KEEP,), refused=((MERGE, why), (DROP, why))), anatomy, {}


def _bypassed_oddity(kept: nn.Module, anatomy: Residual) -> str | None:
    """What is odd about those modules of a block that no step runs whole: the steps run only the modules inside."""
    steps = [*anatomy.branch, *(anatomy.shortcut or ()), *([] if anatomy.end is None else [anatomy.end])]
    run = {inner for step in steps for module in step.modules() for inner in module.modules()}
    return next((odd for module in kept.modules() if module not in run and (odd := oddity(module))), None)
