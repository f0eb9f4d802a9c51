"""What every data set of labelled images offers: batches to train on, to calibrate with and to test with."""

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
    """The share of every batch that one process is given.

    Attributes:
        rank: The number of the process, from 0.
        count: How many processes share a batch.

    Example:
        >>> from pruner.data.images import Part
        >>> Part(rank=1, count=2).of([10, 11, 12, 13, 14])
        [11, 13]
    """

    rank: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise ValueError(f"there is no part {self.rank} of {self.count}")

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Returns every `count`-th of the items from that at `rank` on: all parts together have each item once."""
        return items[self.rank :: self.count]

    def check(self, batch_images: int) -> None:
        """Raises `DataError` when a training batch of so many images leaves a process without any."""
        if batch_images < self.count:
            raise DataError(f"a batch of {batch_images} images cannot be shared by {self.count} processes")


WHOLE: Final = Part()


class ImageData(Protocol):
    """A data set in three disjoint splits: `train` to learn, `calibration` to choose plans by, `test` to report.

    `batch_size` counts the images of all processes together, and `part` says which share of every batch a process is
    given.

    In training every step has a full batch. Each epoch draws a new order, and leaves out the images at its end that do
    not fill a batch. A training split of fewer images than a batch makes epochs of one step. The last batch of the
    other splits may be smaller; a process that has no image of it is given no batch. Batches depend on the seed, the
    epoch and the step alone.

    Example:
        The built-in data set of handwritten digits has these methods:

        >>> import depthfinder as df
        >>> model = df.load_model("deit_digits")
        >>> digits: df.ImageData = df.images(model, dataset="digits")
        >>> digits.num_classes, digits.input_size, digits.steps_per_epoch(batch_size=64)
        (10, (3, 32, 32), 31)
        >>> images, labels = next(digits.test_batches(batch_size=8))
        >>> images.shape, labels.shape
        (torch.Size([8, 3, 32, 32]), torch.Size([8]))
    """

    @property
    def name(self) -> str:
        """Says which images these are: two data sets of one name have the same files and the same splits."""

    @property
    def num_classes(self) -> int:
        """How many classes there are; labels are below it."""

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns how many steps an epoch has, with batches of so many images."""

    def train_batches(
        self, *, epoch: int, batch_size: int, seed: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """Yields the training batches of one epoch, from step `start` on.

        Args:
            epoch: The epoch's number, from 0.
            batch_size: Images in a batch, over all processes.
            seed: The seed of the training.
            start: The first step that is made. No image of the steps before it is decoded.
            part: The share of every batch that this process is given.

        Returns:
            Batches of images (B, C, H, W) and labels (B,).

        Raises:
            DataError: when a batch leaves a process without any image, or an image cannot be decoded.
        """

    def calibration_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """Yields the calibration images and their labels, in the same order each time."""

    def test_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """Yields the test images and their labels, in the same order each time."""


def full_steps(images: int, batch_size: int) -> int:
    """Returns how many steps an epoch over so many images has: its full batches, and 1 where it has none."""
    return max(1, images // batch_size)


def generator(*entropy: int) -> torch.Generator:
    """Returns a random generator seeded by `entropy` alone, so that any step can be replayed by itself."""
    (state,) = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))
