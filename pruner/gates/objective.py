"""Training the gates on the choices of blocks together with the weights of the network."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from pruner.choices.plan import Plan
from pruner.errors import SettingsError
from pruner.gates.gated import GatedSupernet
from pruner.gates.latency_gates import GATE_FORMS
from pruner.gates.temperature import Falling
from pruner.training.objective import Objective, divergence, task_loss
from pruner.training.train_step import TrainStep

_FIRST_SHARE: Final = 0.1


@dataclass(frozen=True)
class Annealing:
    """How much the gates have to save, and how soft they are, over a training.

    The saving grows linearly from a tenth of the target to all of it, over the first `closing_share` of the training.
    The temperature falls all the time, by the same factor at every step (SMART pruner: a temperature that falls through
    the search leaves minima that are not sparse).

    Attributes:
        form: The name of the form of the gates, `knapsack` or `shift`.
        hottest: The temperature at the start.
        coldest: The temperature at the end.
        closing_share: The share of the training after which all has to be saved.

    Example:
        >>> from pruner.gates.objective import Annealing
        >>> annealing = Annealing(hottest=1.0, coldest=0.01, closing_share=0.5)
        >>> [round(annealing.tau(share), 2) for share in (0, 0.5, 1)]
        [1.0, 0.1, 0.01]
        >>> [round(annealing.share_saved(share), 2) for share in (0, 0.25, 0.5, 1)]
        [0.1, 0.55, 1.0, 1.0]
    """

    form: str = "knapsack"
    hottest: float = 1.0
    coldest: float = 0.02
    closing_share: float = 0.5

    def __post_init__(self) -> None:
        """Raises `SettingsError` when there is no such form, or the temperatures do not fall."""
        if self.form not in GATE_FORMS:
            raise SettingsError(f"no form of the gate is called {self.form!r}; there are: {', '.join(GATE_FORMS)}")
        if not 0 < self.coldest <= self.hottest:
            raise SettingsError(f"temperatures fall, but not from {self.hottest} to {self.coldest}")

    def tau(self, share: float) -> float:
        """The temperature after `share` of the training, in [0, 1]."""
        return Falling(self.hottest, self.coldest).at(share)

    def share_saved(self, share: float) -> float:
        """The share of the target that has to be saved after `share` of the training, in [0, 1].

        It begins with a little, because gates learn nothing when there is nothing to save.
        """
        over = min(1.0, share / self.closing_share)
        return _FIRST_SHARE + (1 - _FIRST_SHARE) * over


class GateObjective(Objective):
    """Trains a gated supernet: gates and weights learn by one loss.

    In each step the uncut network learns from the labels. The mixture of plans, whose expected latency is exactly the
    budget of the step, learns from the labels and from the answers of the uncut network.

    Args:
        network: The gated supernet.
        annealing: How much the gates have to save, and how soft they are, over the training.
        temperature: The temperature of the answers that are distilled.
        distill_loss_weight: The weight of the distillation in the loss.
        smoothing: Label smoothing, in [0, 1).
    """

    network: GatedSupernet

    def __init__(
        self,
        network: GatedSupernet,
        annealing: Annealing,
        temperature: float = 2.0,
        distill_loss_weight: float = 1.0,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__(network)
        self.annealing = annealing
        self.temperature = temperature
        self.distill_loss_weight = distill_loss_weight
        self.smoothing = smoothing

    def forward(self, images: Tensor, targets: Tensor, train_step: TrainStep) -> Tensor:
        """The loss of one step: images (B, C, H, W), targets (B,) or their probabilities (B, classes)."""
        uncut = Plan(self.network.chain.model)
        self.network.select(uncut)
        whole = self.network(images)
        self.network.mix(self._gates(train_step))
        mixed = self.network(images)
        self.network.select(uncut)
        taught = divergence(mixed, whole.detach(), self.temperature)
        learned = task_loss(whole, targets, self.smoothing) + task_loss(mixed, targets, self.smoothing)
        return learned + self.distill_loss_weight * taught

    def note(self, train_step: TrainStep) -> str:
        """How many gates are undecided: those of blocks where no choice has a share of 0.99."""
        with torch.no_grad():
            gates = self._gates(train_step)
        undecided = int((gates.amax(1) < 0.99).sum())
        return f"{undecided} of {len(gates)} gates undecided"

    def on_evaluate(self, network: nn.Module, train_step: TrainStep) -> None:
        """Selects the uncut network, whose accuracy is told after each epoch."""
        assert isinstance(network, GatedSupernet)
        network.select(Plan(network.chain.model))

    def _gates(self, train_step: TrainStep) -> Tensor:
        annealing, share = self.annealing, train_step.share
        needed_ms = annealing.share_saved(share) * self.network.costs.needed_ms
        return self.network.gates(GATE_FORMS[annealing.form], needed_ms, annealing.tau(share))
