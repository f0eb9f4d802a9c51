"""A place where an opened network may be cut: every choice's path over one set of weights."""

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
from pruner.choices.forms import Dropped, Folded, Form, Residual
from pruner.choices.hidden import Hidden, hidden_of, narrowed
from pruner.choices.stand_ins import MOST_FEATURES, Fitted, layer_like, new_layer, offered, own_depthwise

_OF_NO_ACCOUNT: Final = 1e-6
"""A share of a mixture that is not worth running: single precision would hardly see it."""


class Site(nn.Module):
    """Stands where a block stood, and computes what `choice` makes of it.

    The gate `lam` runs from 1, where every choice computes exactly what the block did, to 0, where `merged` is exact.
    `kept` is the block itself; `norms` are the modules that a choice needs and the block does not have. `stand_ins` are
    the layers of choices that are fitted, by choice: each is made when it is first selected, for they may be larger
    than the network.
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
        self._shape: torch.Size | None = None
        self._outputs: torch.Size | None = None

    def note_shapes(self, inputs: torch.Size, outputs: torch.Size) -> None:
        """Notes the shapes of the block's inputs and outputs, without the batch. A block of equal shape in and out may
        have a layer fitted in its place, and one with an inner width may be narrowed, on request; but not one about
        which something is odd, for whoever changed it meant it to be there."""
        if first_oddity(self.kept) is not None or not any(True for _ in self.kept.parameters()):
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
        """Whether what the block gives are images (C, H, W), not tokens, and something may stand in for it."""
        return self._outputs is not None and len(self._outputs) == 3

    @property
    def fitted_choices(self) -> tuple[str, ...]:
        """The choices whose layer is fitted by itself: those with weights of their own; and of a block that changes the
        shape of its images, in whose place nothing else can stand, what it folds to."""
        folds = self.takes_images and not self.may_be_fitted
        return tuple(
            choice
            for choice in self.block.choices
            if choice in OWN_WEIGHTS or choice in self.stand_ins or (folds and self._layer_like(choice) is not None)
        )

    @property
    def ends_with(self) -> str:
        """The activation that ends the block; nothing where none does."""
        return "" if self._anatomy.end is None else self._anatomy.end.text

    @property
    def channels(self) -> int:
        """Of what leaves a block that something may stand in for."""
        assert self._outputs is not None, "nothing may stand in for this block"
        return self._outputs[1] if len(self._outputs) == 2 else self._outputs[0]

    def layer(self, choice: str) -> nn.Module:
        """The layer of a choice that is fitted; one that folds runs as its layer from then on."""
        self.run_as_layer(choice)
        self._form(choice)
        return self.stand_ins[choice]

    @property
    def is_layer(self) -> bool:
        """Whether the chosen path is a layer with weights of its own."""
        return self.choice in self.stand_ins

    def run_as_layer(self, choice: str) -> None:
        """Has a choice that folds run as the one layer that it merges to, with weights of its own, which hands on its
        input until it is fitted; leaves one that merges to more, or to a larger layer than can be fitted."""
        layer = self._layer_like(choice)
        if layer is not None:
            self._stand_in(choice, layer)

    def _layer_like(self, choice: str) -> nn.Module | None:
        """A new layer of the kind that a choice folds to; None where that is not one, or one stands there already."""
        if self._outputs is None or choice in self.stand_ins or not isinstance(self._forms.get(choice), Folded):
            return None
        # On tensors without values: folding a large kernel takes seconds.
        merged = copy.deepcopy(self).to("meta").merged(choice)
        assert merged is not None, "what folds leaves a layer"
        return layer_like(merged, self._anatomy, self._shape, next(self.kept.parameters()))

    @torch.no_grad()
    def with_layer(self, choice: str, weights: Mapping[str, Tensor]) -> nn.Module:
        """What the block is merged to as a choice that is fitted, with these weights, rounded once."""
        self.layer(choice)
        form = self._forms[choice]
        assert isinstance(form, Fitted), f"{choice} has no layer of its own"
        layer, batch_norms = copy.deepcopy((form.layer, form.batch_norms))
        layer.load_state_dict({**layer.state_dict(), **weights})
        return dataclasses.replace(form, layer=layer, batch_norms=batch_norms).merged().eval()

    def narrowed(self, units: Tensor) -> tuple[nn.Module, list[BatchNormPair]]:
        """The block with these units of its inner width, without the activation that ends it; and its BatchNorms, each
        with the convolution before it."""
        assert self.hidden is not None, "only a block with an inner width is narrowed"
        return narrowed(self.kept, self._anatomy, self.hidden, units)

    def beside(self, x: Tensor) -> Tensor | None:
        """What the block adds the output of its branch to; None where there is nothing."""
        shortcut = self._anatomy.shortcut
        return None if shortcut is None else run_in_turn(shortcut, x, 1.0)

    def before_end(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the block computes up to the activation that ends it, and with it: the same where none does."""
        end = self._anatomy.end
        if end is None:
            whole: Tensor = self.kept(x)
            return whole, whole
        y = self._anatomy.before_end(x)
        return y, end.run(y, 1.0)

    def offer(self, extra_choices: Collection[str]) -> None:
        """Makes what is on request, and is named, a choice like any other."""
        self.block = self.block.offering(extra_choices)

    def only_keep(self, why: str) -> None:
        """Leaves nothing to choose but the block as it is, because of `why`."""
        self.block, self._anatomy, self._forms = _only_kept(self.block.name, self.block.kind, self.kept, why)
        self.norms = nn.ModuleList()

    def runs_by_steps(self, x: Tensor) -> Tensor | None:
        """What the block's steps make of `x` one after another, which is what it computes; None where they are but the
        block itself."""
        if all(isinstance(step, Opaque) for step in self._anatomy.branch):
            return None
        return self._anatomy.run(x)

    def select(self, choice: str, lam: float) -> None:
        """Chooses the path that `forward` takes, and how far towards it the gate stands."""
        self.choice, self.lam, self._shares = choice, lam, None
        if choice != KEEP:
            self._form(choice)

    def mix(self, shares: Mapping[str, Tensor]) -> None:
        """Until a choice is selected, `forward` gives the mean of what the choices compute at `lam` 0 in the shares
        given: choice -> a number, which learns."""
        self._shares = shares

    def forward(self, x: Tensor) -> Tensor:
        if self._shares is not None:
            ways = [share * self._at_zero(c, x) for c, share in self._shares.items() if share.detach() > _OF_NO_ACCOUNT]
            return torch.stack(ways).sum(0)
        if self.choice == KEEP or (self.lam == 1 and not any(norm.training for norm in self.norms)):
            y: Tensor = self.kept(x)
            return y
        return self._form(self.choice).run(x, self.lam)

    def _at_zero(self, choice: str, x: Tensor) -> Tensor:
        """What the choice comes to."""
        y: Tensor = self.kept(x) if choice == KEEP else self._form(choice).run(x, 0.0)
        return y

    def _form(self, choice: str) -> Form:
        """What a choice makes of the block. The layer of one that is fitted is made when it is first asked for."""
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
        """What the branch ends with: the matrix, or the factors of a norm or a layer scale, that its output is a
        multiple of, but for a bias."""
        for step in reversed(self._anatomy.branch):
            if isinstance(step, Scale):
                gamma: nn.Parameter = step.owner.gamma
                return gamma
            weights = [parameter for parameter in step.parameters() if parameter.ndim > 1] or step.parameters()[:1]
            if weights:
                return weights[-1]
        raise AssertionError(f"{self.block.name} has no weights, so nothing of it can be cut")

    def separate_statistics(self) -> None:
        """Gives every way of cutting BatchNorm statistics of its own, over the same weights."""
        for choice in self.block.choices[1:]:
            self._forms[choice] = self._form(choice).with_own_statistics(self.norms)

    def switches(self) -> list[Switch]:
        """The BatchNorms that the chosen form switches to, with what they stand in for."""
        return [] if self.choice == KEEP else self._form(self.choice).switches()

    def merged(self, choice: str) -> nn.Module | None:
        """What a choice computes at `lam` 0 in evaluation, as modules of torch and timm with weights of their own;
        None when nothing is left of the block. A kept block has its BatchNorms folded."""
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
    """The site of a block that may be dropped if its shortcut is the identity, and folded in each of the given ways if
    all steps of that way fold: choice -> parts, of which each becomes one layer. What is `on_request` may be asked for:
    a form, which if it folds is there only where some way does; or the reason why it cannot be had. A block can only
    be kept where something is odd about a module that the steps do not run as it is."""
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
    """The site of a block that can only be kept, because of `why`."""
    block, anatomy, forms = _only_kept(name, kind, kept, why)
    return Site(block, kept, anatomy, forms, [])


def _only_kept(name: str, kind: str, kept: nn.Module, why: str) -> tuple[Block, Residual, dict[str, Form]]:
    """What a site has that offers nothing. What is odd costs what nothing else does: its signature has its name."""
    anatomy = Residual((Opaque(kept, why),), None)
    signature = anatomy.text if first_oddity(kept) is None else f"{anatomy.text} of {name}"
    return Block(name, kind, signature, (KEEP,), refused=((MERGE, why), (DROP, why))), anatomy, {}


def _bypassed_oddity(kept: nn.Module, anatomy: Residual) -> str | None:
    """What is odd about modules of a block that its steps go past: they run only what is in them."""
    steps = [*anatomy.branch, *(anatomy.shortcut or ()), *([] if anatomy.end is None else [anatomy.end])]
    run = {inner for step in steps for module in step.modules() for inner in module.modules()}
    return next((odd for module in kept.modules() if module not in run and (odd := oddity(module))), None)
