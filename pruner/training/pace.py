"""Chooses how fast a cut network learns, by the accuracy that it loses before any training.

Where layers were fitted, a network may lose next to nothing. It then has little to learn, and at a learning rate at
which a broken network recovers it would forget rather than learn (`benchmarks/learning_rates.py`).
"""

import dataclasses
from typing import Final

from torch import nn

from pruner.data.images import ImageData
from pruner.network.surgery import Cut
from pruner.training.accuracy import accuracy
from pruner.training.settings import TrainSettings
from pruner.training.world import World, alone

MUCH: Final = 0.01
_BATCH: Final = 128


def lost_before_training(cut: Cut, whole: nn.Module, data: ImageData, world: World | None = None) -> float:
    """How much less accurate the cut network is than the uncut one, on calibration images.

    Leaves the gates closed.

    Args:
        cut: The network of a plan, its fitted layers in place.
        whole: The uncut network, on the same device.
        data: Where the calibration images are from.
        world: The processes that train together; each runs its part of the images, and all are told the same.

    Returns:
        A share of the images; below 0 where the cut network is the better one.
    """
    world = world or alone()
    cut.set_lambda(0.0)
    uncut_right, right = (
        accuracy(network, data.calibration_batches(batch_size=_BATCH, part=world.part), world)
        for network in (whole, cut)
    )
    return uncut_right - right


def paced(settings: TrainSettings, lost: float, least: float) -> TrainSettings:
    """Returns the same training at a learning rate in proportion to the accuracy lost; all of the rate from `MUCH` on.

    Args:
        settings: The training that was asked for.
        lost: The share of accuracy that is lost before the training.
        least: The share of the learning rate that is left where nothing is lost, in (0, 1].

    Example:
        >>> from pruner.training.pace import paced
        >>> from pruner.training.settings import TrainSettings
        >>> paced(TrainSettings(epochs=8), lost=0.005, least=0.2).optimizing.lr
        0.00025
        >>> paced(TrainSettings(epochs=8), lost=-0.001, least=0.2).optimizing.lr
        0.0001
    """
    share = min(1.0, max(least, lost / MUCH))
    return dataclasses.replace(
        settings, optimizing=dataclasses.replace(settings.optimizing, lr=share * settings.optimizing.lr)
    )
