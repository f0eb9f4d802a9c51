"""Where in a training a step stands, and what is drawn at random in it."""

from dataclasses import dataclass

import numpy as np
import torch

from pruner.data.images import generator


@dataclass(frozen=True)
class TrainStep:
    """One step of a training: `index` of `total`, and the randomness that belongs to it."""

    index: int
    total: int
    seed: int

    @property
    def share(self) -> float:
        """How much of the training is behind, in [0, 1)."""
        return self.index / self.total

    @property
    def entropy(self) -> int:
        """A number to seed this step's randomness with: the same whenever, and in whichever process, it is taken."""
        return generator(self.seed, self.index).initial_seed()

    def seed_everything(self, rank: int) -> None:
        """Ties what draws from the global generators to the step: dropout and stochastic depth, timm's mixing."""
        own = generator(self.seed, self.index, rank).initial_seed()
        torch.manual_seed(own)
        np.random.seed(own % 2**32)
