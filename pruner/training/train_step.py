"""The place of a step in a training, and the randomness that belongs to it."""

from dataclasses import dataclass

import numpy as np
import torch

from pruner.data.images import generator


@dataclass(frozen=True)
class TrainStep:
    """One step of a training.

    Attributes:
        index: The number of the step, from 0.
        total: How many steps the training has.
        seed: The seed of the training.

    Example:
        >>> from pruner.training.train_step import TrainStep
        >>> TrainStep(index=25, total=100, seed=0).share
        0.25
    """

    index: int
    total: int
    seed: int

    @property
    def share(self) -> float:
        """The share of the training that is over before this step, in [0, 1)."""
        return self.index / self.total

    @property
    def entropy(self) -> int:
        """A number to seed this step's randomness with: the same at every time and in every process."""
        return generator(self.seed, self.index).initial_seed()

    def seed_everything(self, rank: int) -> None:
        """Seeds the global generators, which dropout, stochastic depth and timm's mixing draw from, for this step.

        Args:
            rank: The number of this process, so that each one draws its own numbers.
        """
        own = generator(self.seed, self.index, rank).initial_seed()
        torch.manual_seed(own)
        np.random.seed(own % 2**32)
