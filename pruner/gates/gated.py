"""A supernet in which every block is a mixture of its choices, by learned gates that meet a latency budget."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from pruner.choices.choice import KEEP
from pruner.gates.latency_gates import GateForm
from pruner.network.surgery import Supernet

_TRAVEL: Final = 8.0
"""How far scores are to move in a training, in units of the gates' first temperature.

Scores that move much less leave most gates undecided.
"""


@dataclass(frozen=True)
class GateCosts:
    """What the choices save, and how much the gates have to save in all.

    Attributes:
        saved_ms: Block -> choice -> the milliseconds that the choice saves, for every block that has a gate. `keep`
            comes first and saves 0.
        needed_ms: How many milliseconds have to be saved in all.

    Example:
        >>> from pruner.gates.gated import GateCosts
        >>> costs = GateCosts({"blocks.0.attn": {"keep": 0.0, "drop": 0.5}}, needed_ms=0.2)
        >>> keep, drop = costs.table()[0]
        >>> drop.item()
        -0.5
    """

    saved_ms: Mapping[str, Mapping[str, float]]
    needed_ms: float

    def table(self) -> Tensor:
        """The latency of every choice less that of keeping the block, in milliseconds.

        Returns:
            (blocks, choices) in float64; nan where a block has fewer choices than others.
        """
        most = max(len(saved) for saved in self.saved_ms.values())
        rows = [[-ms for ms in saved.values()] for saved in self.saved_ms.values()]
        return torch.tensor([row + [torch.nan] * (most - len(row)) for row in rows], dtype=torch.float64)


class GatedSupernet(Supernet):
    """A supernet that can run a mixture of plans. The scores of the gates are learned together with the weights.

    Blocks without a choice that saves latency have no gate and are kept. A block's weights can make up for a soft gate
    by growing, so the gates have to end hard, and the result is judged as a plan.

    Attributes:
        costs: What the choices save, and how much has to be saved.
        masks: The learned `scores` of the gates, (blocks, choices).
    """

    mask_lr_scale: float = 100.0
    """The learning rate of the scores over that of the weights; `pace` sets it by the length of the training."""

    def __init__(self, model: nn.Module, costs: GateCosts, extra_choices: Collection[str] = ()) -> None:
        """Opens a copy of `model`, with the scores of all gates at zero.

        Args:
            model: The network to cut; it is left alone.
            costs: What the choices save, and how much has to be saved.
            extra_choices: The names of choices on request that blocks are to offer too.

        Raises:
            ValueError: when no block has a choice that saves latency.
        """
        super().__init__(model, extra_choices)
        if not costs.saved_ms:
            raise ValueError("no choice of any block saves anything: there is nothing for gates to decide")
        self.costs = costs
        self._costs = costs.table()
        self.masks = nn.ParameterDict({"scores": torch.zeros(self._costs.shape)})

    def pace(self, lr: float, steps: int) -> None:
        """Sets `mask_lr_scale` so that all gates can be decided within a training, whatever its length.

        A score whose gradient never changes its sign then moves by about 8 under a cosine schedule, if the optimizer's
        steps are about as long as the learning rate (Adam and its kin).

        Args:
            lr: The peak learning rate of the weights.
            steps: How many steps the training takes.
        """
        self.mask_lr_scale = 2 * _TRAVEL / (lr * max(1, steps))

    def gates(self, form: GateForm, needed_ms: float, tau: float) -> Tensor:
        """The gates at the present scores, through which the scores learn.

        Args:
            form: How scores and costs become gates.
            needed_ms: The milliseconds that the gates save in expectation.
            tau: The temperature; gates are hard as it falls to 0.

        Returns:
            (blocks, choices) the share of each choice; the shares of a block sum to 1.
        """
        scores = self.masks["scores"]
        return form.gates(scores, self._costs.to(scores.device), -needed_ms, tau)

    def mix(self, gates: Tensor) -> None:
        """Makes the network run the mixture of these gates (blocks, choices), until a plan is selected."""
        for (name, saved), row in zip(self.costs.saved_ms.items(), gates, strict=True):
            self.sites[name].mix(dict(zip(saved, row, strict=False)))

    def gains(self, form: GateForm, tau: float) -> dict[tuple[str, str], float]:
        """How much the gates prefer each choice to keeping the block, when all of `costs.needed_ms` is saved.

        Args:
            form: How scores and costs become gates.
            tau: The temperature.

        Returns:
            (block, choice) -> the preference; negative where the gate would keep the block.
        """
        scores = form.net_scores(self.masks["scores"].cpu(), self._costs, -self.costs.needed_ms, tau)
        return {
            (name, choice): score - row[0]
            for (name, saved), row in zip(self.costs.saved_ms.items(), scores.tolist(), strict=True)
            for choice, score in zip(saved, row, strict=False)
            if choice != KEEP
        }
