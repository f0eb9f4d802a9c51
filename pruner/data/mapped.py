"""Images that can be had by number, in three splits that never mix."""

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
        """The class of every image; -1 for one that is of no class asked for."""

    def image(self, index: int, mode: str) -> Image.Image:
        """Raises `BadImageError` for what is no image."""

    def place(self, index: int) -> str:
        """Where the image is to be found, for people."""

    def digest(self) -> str:
        """Names the images: the same wherever, and whenever, the same ones are found."""

    def state(self) -> str:
        """Names them in the state they are in: another one when any was changed."""


@dataclass(frozen=True)
class Split:
    """Some of a source's images, by their numbers."""

    source: Source
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class MappedImages:
    """Images that are read in any order, decoded in `workers` processes (0: in this one)."""

    name: str
    num_classes: int
    input_size: tuple[int, int, int]
    train: Split
    calibration: Split
    test: Split
    transforms: Transforms
    workers: int = 0

    def steps_per_epoch(self, batch_size: int) -> int:
        return full_steps(len(self.train), batch_size)

    def train_batches(
        self, *, epoch: int, batch_size: int, seed: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """Every training image once but for the remainder, in an order of the epoch's own."""
        part.check(min(batch_size, len(self.train)))
        order = torch.randperm(len(self.train), generator=generator(seed, epoch)).tolist()
        steps = range(start, self.steps_per_epoch(batch_size))
        rows = [part.of([self.train.indices[i] for i in order[s * batch_size : (s + 1) * batch_size]]) for s in steps]
        prepare = Varied(self.transforms.train, seed, epoch)
        return carried_out(_Batches(self.train.source, rows, self.transforms.mode, prepare), self.workers)

    def calibration_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        return self._in_order(self.calibration, batch_size, part)

    def test_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        return self._in_order(self.test, batch_size, part)

    def _in_order(self, split: Split, batch_size: int, part: Part) -> Iterator[Batch]:
        rows = [part.of(split.indices[first : first + batch_size]) for first in range(0, len(split), batch_size)]
        filled = [row for row in rows if row]
        prepare = Plain(self.transforms.evaluation)
        return carried_out(_Batches(split.source, filled, self.transforms.mode, prepare), self.workers)


@dataclass(frozen=True)
class _Batches:
    """One batch for each row of numbers."""

    source: Source
    rows: Sequence[Sequence[int]]
    mode: str
    prepare: Prepare

    def share(self, worker: int, workers: int) -> Iterator[Batch]:
        for row in self.rows[worker::workers]:
            images = [self.prepare(self.source.image(index, self.mode), index) for index in row]
            yield torch.stack(images), torch.tensor([self.source.labels[index] for index in row])


def set_apart(labels: Sequence[int], indices: Sequence[int], share: float) -> tuple[list[int], list[int]]:
    """(the rest, about `share` of `indices`), both in their order; `labels` are those of the whole source.

    Drawn by a seed of its own, so that every run sets the same images apart: at least as many as there are classes, but
    never the last one that a class has.
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
