"""The settings, images, processes and progress that all trainings of a run share."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from depthfinder.config.train import TrainConfig
from pruner.data.images import ImageData
from pruner.models.checkpoint import CheckpointFile
from pruner.progress import Progress
from pruner.training.curve import Watcher
from pruner.training.loop import fit
from pruner.training.objective import Objective
from pruner.training.settings import TrainSettings
from pruner.training.world import World

_EPOCH: Final = 1 << 20  # that no training comes to
_PIXELS_AT_ONCE: Final = 1 << 18
_FEWEST_AT_ONCE: Final = 4


@dataclass(frozen=True)
class Trainer:
    """Trains networks on one data set as it was asked for.

    Attributes:
        asked: How networks are trained.
        seed: The seed of all that is random in a training.
        data: The images.
        num_fitted_on: How many training images layers are fitted on.
        world: The processes that train together, and the device that they train on.
        progress: Called with the steps done, the steps in all, and a note.
    """

    asked: TrainConfig
    seed: int
    data: ImageData
    num_fitted_on: int
    world: World
    progress: Progress

    @property
    def device(self) -> torch.device:
        """The device that networks are trained on."""
        return self.world.device

    def settings(self, epochs: int) -> TrainSettings:
        """Returns the settings of a training of so many epochs."""
        return self.asked.settings(epochs, self.seed)

    def images_without_labels(self) -> list[Tensor]:
        """Returns the training images that layers are fitted on, in batches (N, C, H, W).

        They do not depend on the trainings of the run. Larger images come in smaller batches, because gradients are
        taken through the whole network.
        """
        settings, left = self.settings(0), self.num_fitted_on
        found: list[Tensor] = []
        for images, _ in self.data.train_batches(epoch=_EPOCH, batch_size=settings.batch_size, seed=settings.seed):
            found.append(images[:left])
            left -= len(found[-1])
            if left <= 0:
                break
        _, height, width = self.data.input_size
        at_once = max(_FEWEST_AT_ONCE, min(settings.batch_size, _PIXELS_AT_ONCE // (height * width)))
        return [some for images in found for some in images.split(at_once)]

    def train(
        self, objective: Objective, settings: TrainSettings, checkpoint: CheckpointFile, watcher: Watcher
    ) -> None:
        """Trains the network of an objective in place, and goes on from its checkpoint if there is one.

        Args:
            objective: The network, and what it is trained for.
            settings: The settings of the training.
            checkpoint: The file that the training is saved to.
            watcher: Called with all epochs so far after each epoch.
        """
        fit(
            objective,
            self.data,
            settings,
            checkpoint,
            self.progress,
            world=self.world,
            watcher=watcher,
            seconds_between_saves=60 * self.asked.checkpoint_minutes,
        )
