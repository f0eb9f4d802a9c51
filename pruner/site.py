"""A place where an opened network may be cut: every choice's path over one set of weights."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from pruner.branch import batch_norm_pairs, why_not
from pruner.chain import Block
from pruner.forms import Dropped, Folded, Form, Residual
from pruner.modules import folded_copy
from pruner.plan import DROP, KEEP
from pruner.steps import Step, Switch


class Site(nn.Module):
    """Stands where a block stood, and computes what `choice` makes of it.

    The gate `lam` runs from 1, where every choice computes exactly what the block did, to 0, where `merged` is exact.
    `kept` is the block itself; `norms` are the modules that a choice needs and the block does not have.
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
        self.choice = KEEP
        self.lam = 1.0
        # No module registers these: they hold the modules of `kept`, which would then stand in the network twice.
        self._anatomy = anatomy
        self._forms = dict(forms)

    def select(self, choice: str, lam: float) -> None:
        """Chooses the path that `forward` takes, and how far towards it the gate stands."""
        self.choice, self.lam = choice, lam

    def forward(self, x: Tensor) -> Tensor:
        if self.choice == KEEP or (self.lam == 1 and not any(norm.training for norm in self.norms)):
            y: Tensor = self.kept(x)
            return y
        return self._forms[self.choice].run(x, self.lam)

    def separate_statistics(self) -> None:
        """Gives every way of cutting BatchNorm statistics of its own, over the same weights."""
        for choice in self.block.choices[1:]:
            self._forms[choice] = self._forms[choice].with_own_statistics(self.norms)

    def switches(self) -> list[Switch]:
        """The BatchNorms that the chosen form switches to, with what they stand in for."""
        return [] if self.choice == KEEP else self._forms[self.choice].switches()

    def merged(self, choice: str) -> nn.Module | None:
        """What a choice computes at `lam` 0 in evaluation, as modules of torch and timm with weights of their own;
        None when nothing is left of the block. A kept block has its BatchNorms folded."""
        if choice != KEEP:
            return self._forms[choice].merged()
        steps = [self._anatomy.branch, self._anatomy.shortcut or ()]
        return folded_copy(self.kept, [pair for some in steps for pair in batch_norm_pairs(some)])


def make_site(
    name: str,
    kind: str,
    kept: nn.Module,
    anatomy: Residual,
    ways: Mapping[str, tuple[tuple[Step, ...], ...]],
    norms: Sequence[nn.Module] = (),
    on_request: Mapping[str, Form] | None = None,
) -> Site:
    """The site of a block that may be dropped if its shortcut is the identity, and folded in each of the given ways if
    all steps of that way fold: choice -> parts, of which each becomes one layer. What is `on_request` may be asked for
    if any way folds."""
    reasons = {choice: why_not([step for part in parts for step in part]) for choice, parts in ways.items()}
    forms: dict[str, Form] = {
        choice: Folded(anatomy, parts) for choice, parts in ways.items() if reasons[choice] is None
    }
    requested = dict(on_request or {}) if forms else {}
    refused = {choice: reason for choice, reason in reasons.items() if reason is not None}
    if anatomy.shortcut == ():
        forms[DROP] = Dropped(anatomy)
    else:
        refused[DROP] = "it has no shortcut that hands on its input as it is"
    block = Block(
        name=name,
        kind=kind,
        signature=anatomy.text,
        choices=(KEEP, *forms),
        on_request=tuple(requested),
        refused=tuple(refused.items()),
    )
    return Site(block, kept, anatomy, forms | requested, norms)
