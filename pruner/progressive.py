"""Training a cut network while its gates close: from the baseline, exactly, to a network that merges, exactly."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruner.calibration import calibrate, estimate_batch_norm
from pruner.data.images import ImageData
from pruner.plan import Plan
from pruner.surgery import Cut, OpenNetwork
from pruner.training import Moment, TrainSettings, distillation

_BATCHES_FOR_STATISTICS = 20


@dataclass(frozen=True)
class ProgressiveLoss:
    """Sets lambda for the step, then learns from the labels and from the baseline (Hinton et al., 2015).

    Lambda falls in a straight line from 1 at the first step to 0 after `closing_share` of the training; the rest is
    trained at 0, as the network will be merged.
    """

    cut: Cut
    baseline: nn.Module
    closing_share: float = 0.5
    temperature: float = 2.0
    distill_loss_weight: float = 1.0

    def lam(self, moment: Moment) -> float:
        return max(0.0, 1 - moment.share / self.closing_share)

    def __call__(self, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        self.cut.set_lambda(self.lam(moment))
        with torch.no_grad():
            taught = self.baseline(images)
        logits = self.cut(images)
        divergence = distillation(logits, taught, self.temperature)
        return functional.cross_entropy(logits, labels) + self.distill_loss_weight * divergence


def begin(network: OpenNetwork, plan: Plan, data: ImageData, settings: TrainSettings) -> None:
    """Starts every BatchNorm that the plan's blocks will switch to where the baseline is, by training images."""
    network.select(plan, lam=1.0)
    calibrate(network, _images(data, settings))


def close(cut: Cut, data: ImageData, settings: TrainSettings) -> None:
    """Sets lambda to 0 and takes the BatchNorm statistics anew, over training images that no epoch has used."""
    cut.set_lambda(0.0)
    estimate_batch_norm(cut, _images(data, settings))


def _images(data: ImageData, settings: TrainSettings) -> Iterator[Tensor]:
    batches = data.train_batches(epoch=settings.epochs, batch_size=settings.batch_size, seed=settings.seed)
    for _, (images, _labels) in zip(range(_BATCHES_FOR_STATISTICS), batches, strict=False):
        yield images
