"""A data set as it was found, before there is a model to prepare its images for."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from pruner.data.augmentation import transforms_for
from pruner.data.bad_images import bad_images
from pruner.data.class_map import ClassMap, num_classes
from pruner.data.images import ImageData
from pruner.data.mapped import MappedImages, Source, Split, set_apart
from pruner.data.settings import Preparation
from pruner.data.streamed import CALIBRATION_EVERY, Stream, StreamedImages
from pruner.errors import DataError

_CALIBRATION_SHARE = 0.1
_TEST_SHARE = 0.2


class Catalogue(Protocol):
    """What is known of a data set that was found."""

    @property
    def num_classes(self) -> int | None:
        """Outputs that a network needs; None where the data set does not say."""

    @property
    def classes(self) -> ClassMap | None:
        """Name -> label; None where the data set does not say."""

    @property
    def notes(self) -> Sequence[str]:
        """What somebody may not expect of how the data set was read, for the log."""

    def images(self, model: nn.Module, input_size: tuple[int, int, int], preparation: Preparation) -> ImageData:
        """The images, prepared as timm's configuration of `model` says. Raises `DataError` if they are of no use."""


@dataclass(frozen=True)
class MappedCatalogue:
    """Images that can be had by number; without a test split, a fifth of them all is set apart for the test.

    `splits` are the names of both splits.
    """

    dataset: str
    splits: tuple[str, str | None]
    classes: ClassMap
    train: Source
    test: Source | None
    notes: Sequence[str] = ()

    @property
    def num_classes(self) -> int:
        return num_classes(self.classes)

    def images(self, model: nn.Module, input_size: tuple[int, int, int], preparation: Preparation) -> MappedImages:
        transforms = transforms_for(model, input_size, preparation.augmentation, preparation.evaluation)
        sources = [self.train] if self.test is None else [self.train, self.test]
        bad: Sequence[frozenset[int]] = [frozenset() for _ in sources]
        if preparation.bad_images is not None:
            bad = bad_images(sources, preparation.bad_images, preparation.progress)
        good = [
            [index for index, label in enumerate(source.labels) if label >= 0 and index not in left_out]
            for source, left_out in zip(sources, bad, strict=True)
        ]
        train = good[0]
        if self.test is None:
            train, test = set_apart(self.train.labels, train, _TEST_SHARE)
        else:
            test = good[1]
        train, calibration = set_apart(self.train.labels, train, _CALIBRATION_SHARE)
        self._check(train, calibration, test)
        return MappedImages(
            self._name(sources, bad, (len(train), len(calibration), len(test)), preparation),
            self.num_classes,
            input_size,
            Split(self.train, train),
            Split(self.train, calibration),
            Split(self.test or self.train, test),
            transforms,
            preparation.workers,
        )

    def _check(self, train: Sequence[int], calibration: Sequence[int], test: Sequence[int]) -> None:
        there = {self.train.labels[index] for index in train}
        missing = sorted(name for name, label in self.classes.items() if label not in there)
        if train and missing:
            raise DataError(f"{self.dataset} has no image to train on of the class {', '.join(missing[:5])}")
        if not train or not calibration or not test:
            raise DataError(
                f"{self.dataset} holds too few images to train on, calibrate and test with: "
                f"{len(train)} are left to train"
            )

    def _name(
        self,
        sources: Sequence[Source],
        bad: Sequence[frozenset[int]],
        counts: tuple[int, int, int],
        preparation: Preparation,
    ) -> str:
        files = [(source.digest(), sorted(left_out)) for source, left_out in zip(sources, bad, strict=True)]
        digest = _digest(files, self.classes, preparation)
        train, test = self.splits
        return (
            f"{self.dataset}: {counts[0]} of {train} to train, {counts[1]} to calibrate, "
            f"{counts[2]} of {test or train} to test, {digest}"
        )


@dataclass(frozen=True)
class StreamedCatalogue:
    """Images that come as streams; `classes` is None where the data set does not say which there are."""

    dataset: str
    splits: tuple[str, str]
    classes: ClassMap | None
    train: Stream
    test: Stream
    may_have_workers: bool = True
    notes: Sequence[str] = ()

    @property
    def num_classes(self) -> int | None:
        return None if self.classes is None else num_classes(self.classes)

    def images(self, model: nn.Module, input_size: tuple[int, int, int], preparation: Preparation) -> StreamedImages:
        if preparation.bad_images is not None:
            raise DataError(f"{self.dataset} is a stream, of which no image can be left out: without --skip-bad-images")
        whole, tested = sum(self.train.chunks), sum(self.test.chunks)
        calibration = whole // CALIBRATION_EVERY
        if not calibration or not tested:
            raise DataError(f"{self.dataset} holds too few images: {whole} to train and {tested} to test")
        digest = _digest((self.train.digest(), self.test.digest()), self.classes or {}, preparation)
        train, test = self.splits
        return StreamedImages(
            f"{self.dataset}: {whole - calibration} of {train} to train, {calibration} to calibrate, "
            f"{tested} of {test} to test, {digest}",
            self.num_classes or int(getattr(model, "num_classes", 0)),
            input_size,
            self.train,
            self.test,
            transforms_for(model, input_size, preparation.augmentation, preparation.evaluation),
            preparation.workers if self.may_have_workers else 0,
        )


def _digest(images: object, classes: ClassMap, preparation: Preparation) -> str:
    """Two data sets have the same if the same images are in them, of the same classes, and go through the same."""
    through = (preparation.augmentation, preparation.evaluation)
    return hashlib.sha256(repr((images, sorted(classes.items()), through)).encode()).hexdigest()[:12]
