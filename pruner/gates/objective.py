"""Training gates on the choices of blocks together with the weights that they choose among."""

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
    """What the gates have to save, and how soft they are, over a training.

    The budget comes down from the full latency in a straight line until `closing_share` of the training is behind; the
    temperature falls all the time, by the same factor at every step (SMART pruner: a temperature that falls through the
    search leaves minima that are not sparse).
    """

    form: str = "knapsack"
    hottest: float = 1.0
    coldest: float = 0.02
    closing_share: float = 0.5

    def __post_init__(self) -> None:
        """Raises `SettingsError` for a form that there is not, and for temperatures that do not fall."""
        if self.form not in GATE_FORMS:
            raise SettingsError(f"no form of the gate is called {self.form!r}; there are: {', '.join(GATE_FORMS)}")
        if not 0 < self.coldest <= self.hottest:
            raise SettingsError(f"temperatures fall, but not from {self.hottest} to {self.coldest}")

    def tau(self, share: float) -> float:
        return Falling(self.hottest, self.coldest).at(share)

    def share_saved(self, share: float) -> float:
        """Of what has to be saved in the end. It begins with a little: with nothing to save, gates learn nothing."""
        over = min(1.0, share / self.closing_share)
        return _FIRST_SHARE + (1 - _FIRST_SHARE) * over


class GateObjective(Objective):
    """Each step the uncut path learns from the labels; and the mixture of plans, whose expected latency is the step's
    budget exactly, from the labels and from the uncut path. Gates and weights learn by one loss."""

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
        with torch.no_grad():
            gates = self._gates(train_step)
        undecided = int((gates.amax(1) < 0.99).sum())
        return f"{undecided} of {len(gates)} gates undecided"

    def on_evaluate(self, network: nn.Module, train_step: TrainStep) -> None:
        """The uncut path."""
        assert isinstance(network, GatedSupernet)
        network.select(Plan(network.chain.model))

    def _gates(self, train_step: TrainStep) -> Tensor:
        annealing, share = self.annealing, train_step.share
        needed_ms = annealing.share_saved(share) * self.network.costs.needed_ms
        return self.network.gates(GATE_FORMS[annealing.form], needed_ms, annealing.tau(share))
