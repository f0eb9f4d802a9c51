"""Data sets whose images can be read by number, in three splits that never mix."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image

from pruner.data.augmentation import Transforms
from pruner.data.images import WHOLE, Batch, Part, full_steps, generator
from pruner.data.loading import Plain, Prepare, Varied, carried_out

_SPLIT_SEED = 20240220


class Source(Protocol):
    """Labelled images that are read one by one, each by its number."""

    @property
    def labels(self) -> Sequence[int]:
        """The label of every image; -1 for an image of none of the classes asked for."""

    def image(self, index: int, mode: str) -> Image.Image:
        """Decodes image `index` to the mode "RGB" or "L". Raises `BadImageError` when that fails."""

    def place(self, index: int) -> str:
        """Returns where image `index` is to be found, for messages."""

    def digest(self) -> str:
        """Returns a digest of the images: the same wherever and whenever the same images are found."""

    def state(self) -> str:
        """Returns a digest of the images as they are now: another one when any of them was changed."""


@dataclass(frozen=True)
class Split:
    """Some of a source's images, by their numbers."""

    source: Source
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class MappedImages:
    """A data set whose images are read by number, in any order.

    Attributes:
        name: Says which images these are, and how they are split.
        num_classes: How many classes there are.
        input_size: (channels, height, width) of the images.
        train: The images to train on.
        calibration: The images to choose plans by.
        test: The images to report on.
        transforms: What turns images into tensors.
        workers: How many processes decode images; 0 decodes them in this one.
    """

    name: str
    num_classes: int
    input_size: tuple[int, int, int]
    train: Split
    calibration: Split
    test: Split
    transforms: Transforms
    workers: int = 0

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns how many full batches an epoch has, and 1 where it has none."""
        return full_steps(len(self.train), batch_size)

    def train_batches(
        self, *, epoch: int, batch_size: int, seed: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """Yields every training image once, in an order drawn for the epoch, but for those that fill no last batch.

        Args:
            epoch: The epoch's number, from 0.
            batch_size: Images in a batch, over all processes.
            seed: The seed of the training.
            start: The first step that is made. No image of the steps before it is decoded.
            part: The share of every batch that this process is given.

        Raises:
            DataError: when a batch leaves a process without any image, or an image cannot be decoded.
        """
        part.check(min(batch_size, len(self.train)))
        order = torch.randperm(len(self.train), generator=generator(seed, epoch)).tolist()
        steps = range(start, self.steps_per_epoch(batch_size))
        rows = [part.of([self.train.indices[i] for i in order[s * batch_size : (s + 1) * batch_size]]) for s in steps]
        prepare = Varied(self.transforms.train, seed, epoch)
        return carried_out(_Batches(self.train.source, rows, self.transforms.mode, prepare), self.workers)

    def calibration_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """Yields the calibration images and their labels, in the same order each time."""
        return self._in_order(self.calibration, batch_size, part)

    def test_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """Yields the test images and their labels, in the same order each time."""
        return self._in_order(self.test, batch_size, part)

    def _in_order(self, split: Split, batch_size: int, part: Part) -> Iterator[Batch]:
        rows = [part.of(split.indices[first : first + batch_size]) for first in range(0, len(split), batch_size)]
        filled = [row for row in rows if row]
        prepare = Plain(self.transforms.evaluation)
        return carried_out(_Batches(split.source, filled, self.transforms.mode, prepare), self.workers)


@dataclass(frozen=True)
class _Batches:
    """Makes one batch of each row of image numbers."""

    source: Source
    rows: Sequence[Sequence[int]]
    mode: str
    prepare: Prepare

    def share(self, worker: int, workers: int) -> Iterator[Batch]:
        for row in self.rows[worker::workers]:
            images = [self.prepare(self.source.image(index, self.mode), index) for index in row]
            yield torch.stack(images), torch.tensor([self.source.labels[index] for index in row])


def set_apart(labels: Sequence[int], indices: Sequence[int], share: float) -> tuple[list[int], list[int]]:
    """Divides images into two parts at random, in the same way each time.

    At least as many images are set apart as there are classes, but never the last image of a class.

    Args:
        labels: The labels of the whole source.
        indices: The numbers of the images to divide.
        share: The share of them that is set apart, in [0, 1].

    Returns:
        (the numbers of the rest, the numbers of those set apart), both in their order.

    Example:
        >>> from pruner.data.mapped import set_apart
        >>> rest, apart = set_apart([0] * 50 + [1] * 50, range(100), share=0.2)
        >>> len(rest), len(apart)
        (80, 20)
    """
    left = Counter(labels[index] for index in indices)
    count = max(len(left), round(share * len(indices)))
    order = torch.randperm(len(indices), generator=generator(_SPLIT_SEED, len(indices))).tolist()
    chosen: set[int] = set()
    for index in (indices[position] for position in order):
        if len(chosen) == count:
            break
        if left[labels[index]] > 1:
            left[labels[index]] -= 1
            chosen.add(index)
    return [index for index in indices if index not in chosen], [index for index in indices if index in chosen]
