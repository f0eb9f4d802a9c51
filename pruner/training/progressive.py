"""Training a cut network while its gates close: from the baseline, exactly, to a network that merges, exactly."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor, nn

from pruner.choices.plan import Plan
from pruner.data.images import ImageData
from pruner.fitting.spans import stood_in_for
from pruner.network.calibration import calibrate, estimate_batch_norm
from pruner.network.surgery import Cut, OpenNetwork
from pruner.training.objective import Objective, Teaching, task_loss
from pruner.training.schedules import Schedule
from pruner.training.settings import TrainSettings
from pruner.training.train_step import TrainStep

_BATCHES_FOR_STATISTICS = 20


class Closing(Protocol):
    """How gates close."""

    def lams(self, share: float) -> dict[str, float]:
        """Block -> lambda, when `share` of the training is behind."""


class Progressive(Objective):
    """Sets every gate for the step, then learns from the labels and from the baseline (UPDP's progressive training)."""

    network: Cut

    def __init__(
        self, cut: Cut, teaching: Teaching | None, schedule: Closing | None = None, smoothing: float = 0.0
    ) -> None:
        """Without a schedule, all gates close together in a straight line, as `Schedule` has it by default."""
        super().__init__(cut)
        self.teaching = teaching
        self.schedule: Closing = schedule or Schedule(tuple(cut.plan.choices))
        self.smoothing = smoothing
        self._stood_in_for = stood_in_for(cut)

    def forward(self, images: Tensor, targets: Tensor, train_step: TrainStep) -> Tensor:
        self.network.set_lambdas(self._lams(train_step))
        logits = self.network(images)
        loss = task_loss(logits, targets, self.smoothing)
        return loss if self.teaching is None else loss + self.teaching(images, logits)

    def note(self, train_step: TrainStep) -> str:
        return f"lambda {self.lam(train_step):.2f}"

    def lam(self, train_step: TrainStep) -> float:
        lams = self._lams(train_step)
        return sum(lams.values()) / max(1, len(lams))

    def _lams(self, train_step: TrainStep) -> dict[str, float]:
        """Block -> lambda. A layer that was fitted is a better start than the block beside it: its gate is closed from
        the first step on, and so are those of the blocks that it stands in for besides."""
        return self.schedule.lams(train_step.share) | dict.fromkeys(self._stood_in_for, 0.0)

    def on_evaluate(self, network: nn.Module, train_step: TrainStep) -> None:
        """The gates where the moment has them."""
        assert isinstance(network, Cut)
        network.set_lambdas(self._lams(train_step))


def calibrate_norms(network: OpenNetwork, plan: Plan, data: ImageData, settings: TrainSettings) -> None:
    """Starts every BatchNorm that the plan's blocks will switch to where the baseline is, by training images."""
    network.select(plan, lam=1.0)
    calibrate(network, _images(network, data, settings))


def finalize(cut: Cut, data: ImageData, settings: TrainSettings) -> None:
    """Sets lambda to 0 and takes the BatchNorm statistics anew, over training images that no epoch has used."""
    cut.set_lambda(0.0)
    estimate_batch_norm(cut, _images(cut, data, settings))


def _images(network: OpenNetwork, data: ImageData, settings: TrainSettings) -> Iterator[Tensor]:
    device = next(network.parameters()).device
    batches = data.train_batches(epoch=settings.epochs, batch_size=settings.batch_size, seed=settings.seed)
    for _, (images, _labels) in zip(range(_BATCHES_FOR_STATISTICS), batches, strict=False):
        yield images.to(device)
