"""Data sets whose images come one after the other and cannot be read by number, in three splits that never mix."""

import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import torch
from PIL import Image

from pruner.data.augmentation import Transforms
from pruner.data.decoding import decode, in_mode
from pruner.data.images import WHOLE, Batch, Part, full_steps, generator
from pruner.data.loading import Plain, Prepare, Varied, carried_out
from pruner.errors import DataError

CALIBRATION_EVERY: Final = 10
_SHUFFLED_AT_ONCE: Final = 2048


@dataclass(frozen=True)
class Encoded:
    """A sample as it comes from a stream, before it is decoded.

    Attributes:
        place: Where the sample is, for messages.
        content: The bytes of an image file, the path of one, or an image that the reader has decoded already.
        label: The class of the sample.
    """

    place: str
    content: bytes | Path | Image.Image
    label: int


class Stream(Protocol):
    """Labelled images that come in the same order each time."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """The number of samples in each chunk; a chunk can be read without those before it."""

    def read(self, chunk: int) -> Iterator[Encoded]:
        """Yields the samples of chunk number `chunk`, in order, not yet decoded."""

    def digest(self) -> str:
        """Returns a digest that names the images."""


Numbered = tuple[int, Encoded]
"""(position in the stream, the sample)."""


@dataclass(frozen=True)
class StreamedImages:
    """A data set whose images come as streams.

    Every tenth sample of the training stream, by its position, is for calibration; the others are trained on. Each
    epoch takes the chunks of the stream in an order of its own, and draws each sample from the 2048 that come next.

    Each process, and each of its workers, reads the whole stream and decodes its own share of the images. To resume an
    epoch, the samples of the steps before are read but not decoded.

    Attributes:
        name: Says which images these are, and how they are split.
        num_classes: How many classes there are.
        input_size: (channels, height, width) of the images.
        train: The stream of the images for training and calibration.
        test: The stream of the images to report on.
        transforms: What turns images into tensors.
        workers: How many processes decode images; 0 decodes them in this one.
    """

    name: str
    num_classes: int
    input_size: tuple[int, int, int]
    train: Stream
    test: Stream
    transforms: Transforms
    workers: int = 0

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns how many full batches an epoch has, and 1 where it has none."""
        return full_steps(self._train_images, batch_size)

    @property
    def _train_images(self) -> int:
        whole = sum(self.train.chunks)
        return whole - whole // CALIBRATION_EVERY

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
            DataError: when a batch leaves a process without any image, an image cannot be decoded, a label is none of
                the classes, or a chunk has another number of samples than it should.
        """
        step_images = min(batch_size, self._train_images)
        part.check(step_images)
        steps = range(start, self.steps_per_epoch(batch_size))
        prepare = Varied(self.transforms.train, seed, epoch)
        return carried_out(
            self._batches(_Epoch(self.train, seed, epoch), step_images, steps, part, prepare), self.workers
        )

    def calibration_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """Yields the calibration images and their labels, in the same order each time."""
        return self._in_order(_Calibration(self.train), sum(self.train.chunks) // CALIBRATION_EVERY, batch_size, part)

    def test_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """Yields the test images and their labels, in the same order each time."""
        return self._in_order(_Whole(self.test), sum(self.test.chunks), batch_size, part)

    def _in_order(self, samples: "Samples", images: int, batch_size: int, part: Part) -> Iterator[Batch]:
        steps = range(-(-images // batch_size))
        prepare = Plain(self.transforms.evaluation)
        return carried_out(self._batches(samples, batch_size, steps, part, prepare), self.workers)

    def _batches(self, samples: "Samples", batch_size: int, steps: range, part: Part, prepare: Prepare) -> "_Batches":
        return _Batches(samples, batch_size, steps, part, self.transforms.mode, self.num_classes, prepare)


Samples = Callable[[], Iterator[Numbered]]
"""Starts a split anew: returns an iterator over its samples, from the first on."""


@dataclass(frozen=True)
class _Epoch:
    """The samples that are trained on, in the order of one epoch."""

    stream: Stream
    seed: int
    epoch: int

    def __call__(self) -> Iterator[Numbered]:
        random = generator(self.seed, self.epoch)
        order = torch.randperm(len(self.stream.chunks), generator=random).tolist()
        learnt = (pair for pair in _numbered(self.stream, order) if not _is_for_calibration(pair))
        return _shuffled(learnt, random)


@dataclass(frozen=True)
class _Calibration:
    """The samples that are set apart, in the stream's order."""

    stream: Stream

    def __call__(self) -> Iterator[Numbered]:
        return filter(_is_for_calibration, _numbered(self.stream, range(len(self.stream.chunks))))


@dataclass(frozen=True)
class _Whole:
    """All samples, in the stream's order."""

    stream: Stream

    def __call__(self) -> Iterator[Numbered]:
        return _numbered(self.stream, range(len(self.stream.chunks)))


@dataclass(frozen=True)
class _Batches:
    """Makes one process's share of the batches of consecutive steps."""

    samples: Samples
    batch_size: int
    steps: range
    part: Part
    mode: str
    num_classes: int
    prepare: Prepare

    def share(self, worker: int, workers: int) -> Iterator[Batch]:
        samples = itertools.islice(self.samples(), self.steps.start * self.batch_size, None)
        for turn in range(len(self.steps)):
            step = list(itertools.islice(samples, self.batch_size))
            own = self.part.of(step)
            if turn % workers == worker and own:
                images = [self.prepare(self._decoded(encoded), position) for position, encoded in own]
                yield torch.stack(images), torch.tensor([encoded.label for _, encoded in own])

    def _decoded(self, encoded: Encoded) -> Image.Image:
        if not 0 <= encoded.label < self.num_classes:
            raise DataError(f"{encoded.place} has the label {encoded.label}, of {self.num_classes} classes")
        content = encoded.content
        if isinstance(content, Image.Image):
            return in_mode(lambda: content, self.mode, encoded.place)
        file = io.BytesIO(content) if isinstance(content, bytes) else content
        return decode(file, self.mode, encoded.place)


def _is_for_calibration(pair: Numbered) -> bool:
    return pair[0] % CALIBRATION_EVERY == CALIBRATION_EVERY - 1


def _numbered(stream: Stream, order: Iterable[int]) -> Iterator[Numbered]:
    """The samples of the chunks in `order`. Raises `DataError` when a chunk has too few or too many."""
    first = list(itertools.accumulate(stream.chunks, initial=0))
    for chunk in order:
        count = 0
        for encoded in stream.read(chunk):
            if count < stream.chunks[chunk]:
                yield first[chunk] + count, encoded
            count += 1
        if count != stream.chunks[chunk]:
            raise DataError(
                f"{stream.chunks[chunk]} images were expected of part {chunk} of a stream, and {count} came"
            )


def _shuffled(samples: Iterator[Numbered], random: torch.Generator) -> Iterator[Numbered]:
    held = list(itertools.islice(samples, _SHUFFLED_AT_ONCE))
    for sample in samples:
        place = int(torch.randint(len(held), (), generator=random))
        held[place], drawn = sample, held[place]
        yield drawn
    for place in torch.randperm(len(held), generator=random).tolist():
        yield held[place]
