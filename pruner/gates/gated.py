"""A weight-sharing network in which every block is a mixture of its choices, by gates that learn and meet a budget."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from pruner.choices.choice import KEEP
from pruner.gates.latency_gates import GateForm
from pruner.network.surgery import Supernet

_TRAVEL: Final = 8.0
"""In units of the temperature that gates begin at: scores that go much less far leave most gates undecided."""


@dataclass(frozen=True)
class GateCosts:
    """What the gates are to spend. `saved_ms` is what each choice of each block that has a gate saves, 0 for `keep`,
    which comes first; `needed_ms` how much has to be saved in all."""

    saved_ms: Mapping[str, Mapping[str, float]]
    needed_ms: float

    def table(self) -> Tensor:
        """(blocks, choices) in float64: what each choice takes more than keeping its block; nan where there is none."""
        most = max(len(saved) for saved in self.saved_ms.values())
        rows = [[-ms for ms in saved.values()] for saved in self.saved_ms.values()]
        return torch.tensor([row + [torch.nan] * (most - len(row)) for row in rows], dtype=torch.float64)


class GatedSupernet(Supernet):
    """A supernet that runs a mixture of plans. The gates' scores are learned beside the weights; blocks of which
    nothing can be saved are kept.

    A cut block's own weights could make up for a soft gate by growing: gates have to end hard, and what is found is
    judged as a plan.
    """

    mask_lr_scale: float = 100.0
    """How much faster scores learn than weights, until `pace` is told how long they have."""

    def __init__(self, model: nn.Module, costs: GateCosts, extra_choices: Collection[str] = ()) -> None:
        """`extra_choices` is that of every `Supernet`.

        Raises `ValueError` when there is no block with a choice that saves anything."""
        super().__init__(model, extra_choices)
        if not costs.saved_ms:
            raise ValueError("no choice of any block saves anything: there is nothing for gates to decide")
        self.costs = costs
        self._costs = costs.table()
        self.masks = nn.ParameterDict({"scores": torch.zeros(self._costs.shape)})

    def pace(self, lr: float, steps: int) -> None:
        """Lets scores learn so fast that all of them can be decided within a training, however long it is and whatever
        its learning rate: one whose gradient never changes its sign goes about 8 under a cosine, where an optimizer's
        steps are about as long as the learning rate (Adam and its kin)."""
        self.mask_lr_scale = 2 * _TRAVEL / (lr * max(1, steps))

    def gates(self, form: GateForm, needed_ms: float, tau: float) -> Tensor:
        """(blocks, choices): the shares of the choices, which save `needed_ms` together. Their scores learn by them."""
        scores = self.masks["scores"]
        return form.gates(scores, self._costs.to(scores.device), -needed_ms, tau)

    def mix(self, gates: Tensor) -> None:
        """Runs the mixture of these gates (blocks, choices) until a plan is selected."""
        for (name, saved), row in zip(self.costs.saved_ms.items(), gates, strict=True):
            self.sites[name].mix(dict(zip(saved, row, strict=False)))

    def gains(self, form: GateForm, tau: float) -> dict[tuple[str, str], float]:
        """(block, choice) -> how much the gate would rather have that than the block kept, when all that is needed is
        saved; negative where it would keep it."""
        scores = form.net_scores(self.masks["scores"].cpu(), self._costs, -self.costs.needed_ms, tau)
        return {
            (name, choice): score - row[0]
            for (name, saved), row in zip(self.costs.saved_ms.items(), scores.tolist(), strict=True)
            for choice, score in zip(saved, row, strict=False)
            if choice != KEEP
        }
