"""What every data set of labelled images offers to the trainer, the search and the final test."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from pruner.errors import DataError

Batch = tuple[Tensor, Tensor]
"""Images (B, C, H, W) in float32 and class labels (B,) in int64."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Part:
    """Which share of every batch is this process's: `rank` of `count`."""

    rank: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise ValueError(f"there is no part {self.rank} of {self.count}")

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every `count`-th of the items, from that at `rank` on: all parts together have each item once."""
        return items[self.rank :: self.count]

    def check(self, batch_images: int) -> None:
        """Raises `DataError` when a training batch of so many images leaves a process without any."""
        if batch_images < self.count:
            raise DataError(f"a batch of {batch_images} images cannot be shared by {self.count} processes")


WHOLE: Final = Part()


class ImageData(Protocol):
    """Three disjoint splits: `train` to learn, `calibration` to choose plans by, `test` to report.

    `batch_size` counts the images of all processes together; a `part` is given its share of every batch. In training
    every step has a full batch: what is left at an epoch's end, in an order that each epoch draws anew, is not seen in
    it. Fewer images than a batch make epochs of one step. The last batch of the other splits may be smaller, and a
    process that has no image of it is given no batch. Batches depend on the seed, the epoch and the step alone.
    """

    @property
    def name(self) -> str:
        """Which images these are: two data sets of one name have the same files and the same splits."""

    @property
    def num_classes(self) -> int: ...

    @property
    def input_size(self) -> tuple[int, int, int]: ...

    def steps_per_epoch(self, batch_size: int) -> int: ...

    def train_batches(
        self, *, epoch: int, batch_size: int, seed: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """The batches of one epoch from step `start` on; no image of the steps before is decoded."""

    def calibration_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]: ...

    def test_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]: ...


def full_steps(images: int, batch_size: int) -> int:
    """Steps of an epoch over so many images: full batches, or the one that there is."""
    return max(1, images // batch_size)


def generator(*entropy: int) -> torch.Generator:
    """A random generator that depends on `entropy` alone, so that any step can be replayed by itself."""
    (state,) = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))
