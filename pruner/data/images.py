"""What every data set of labelled images offers to the trainer, the search and the final test."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]
"""Images (B, C, H, W) in float32 and class labels (B,) in int64."""


class ImageData(Protocol):
    """Three disjoint splits: `train` to learn, `calibration` to choose plans by, `test` to report."""

    @property
    def name(self) -> str: ...

    @property
    def num_classes(self) -> int: ...

    @property
    def input_size(self) -> tuple[int, int, int]: ...

    def steps_per_epoch(self, batch_size: int) -> int: ...

    def train_batches(self, *, epoch: int, batch_size: int, seed: int) -> Iterator[Batch]: ...

    def calibration_batches(self, *, batch_size: int) -> Iterator[Batch]: ...

    def test_batches(self, *, batch_size: int) -> Iterator[Batch]: ...


def generator(*entropy: int) -> torch.Generator:
    """A random generator that depends on `entropy` alone, so that any step can be replayed by itself."""
    (state,) = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))
