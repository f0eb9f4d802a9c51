"""Trains a cut network while its gates close: from exactly the baseline to exactly what the merged network computes."""

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
    """How the gates of a cut network close."""

    def lams(self, share: float) -> dict[str, float]:
        """Returns block -> lambda, when `share` of the training, in [0, 1], is over."""


class Progressive(Objective):
    """Learning from labels and from the baseline while the gates close (UPDP's progressive training).

    At every step all gates are set first. Blocks that a fitted layer stands in for are closed from the first step on,
    because the layer is a better start than the block beside it.

    Args:
        cut: The network of a plan, which learns.
        teaching: The distance from the baseline, which is added to the loss; None to learn from labels alone.
        schedule: How the gates close; None closes all together in a straight line.
        smoothing: How much labels are softened, in [0, 1].
    """

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
        """Sets the gates, and returns the loss of one batch: that of the labels, and that of the teacher."""
        self.network.set_lambdas(self._lams(train_step))
        logits = self.network(images)
        loss = task_loss(logits, targets, self.smoothing)
        return loss if self.teaching is None else loss + self.teaching(images, logits)

    def note(self, train_step: TrainStep) -> str:
        """Returns the mean lambda in words."""
        return f"lambda {self.lam(train_step):.2f}"

    def lam(self, train_step: TrainStep) -> float:
        """Returns the mean lambda over the cut blocks."""
        lams = self._lams(train_step)
        return sum(lams.values()) / max(1, len(lams))

    def _lams(self, train_step: TrainStep) -> dict[str, float]:
        """Block -> lambda.

        A fitted layer is a better start than the block beside it. So its gate is closed from the first step on, and so
        are those of the other blocks of its span.
        """
        return self.schedule.lams(train_step.share) | dict.fromkeys(self._stood_in_for, 0.0)

    def on_evaluate(self, network: nn.Module, train_step: TrainStep) -> None:
        """Sets the gates as they are at this step."""
        assert isinstance(network, Cut)
        network.set_lambdas(self._lams(train_step))


def calibrate_norms(network: OpenNetwork, plan: Plan, data: ImageData, settings: TrainSettings) -> None:
    """Starts the BatchNorms that cut blocks switch to near the baseline, by training images, in place.

    Args:
        network: The opened network.
        plan: Which blocks are cut. The plan stays selected, with every lambda at 1.
        data: Where the training images are from.
        settings: The batch size and the seed of the training that follows.
    """
    network.select(plan, lam=1.0)
    calibrate(network, _images(network, data, settings))


def finalize(cut: Cut, data: ImageData, settings: TrainSettings) -> None:
    """Sets every lambda to 0, and takes the BatchNorm statistics anew over training images, in place.

    The images come in the order of one more epoch after the last.

    Args:
        cut: The network of a plan after its training.
        data: Where the training images are from.
        settings: The settings of that training.
    """
    cut.set_lambda(0.0)
    estimate_batch_norm(cut, _images(cut, data, settings))


def _images(network: OpenNetwork, data: ImageData, settings: TrainSettings) -> Iterator[Tensor]:
    device = next(network.parameters()).device
    batches = data.train_batches(epoch=settings.epochs, batch_size=settings.batch_size, seed=settings.seed)
    for _, (images, _labels) in zip(range(_BATCHES_FOR_STATISTICS), batches, strict=False):
        yield images.to(device)
