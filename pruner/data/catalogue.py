"""Catalogues: data sets that were found, before there is a network to prepare their images for."""

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
    """A data set that was found: what is known of it, and how to get at its images."""

    @property
    def num_classes(self) -> int | None:
        """How many outputs a network needs; None where the data set does not say."""

    @property
    def classes(self) -> ClassMap | None:
        """Name of a class -> its label; None where the data set does not say."""

    @property
    def notes(self) -> Sequence[str]:
        """Remarks for the log on how the data set was read, where that may surprise."""

    def images(self, model: nn.Module, input_size: tuple[int, int, int], preparation: Preparation) -> ImageData:
        """Prepares the images for a network.

        Args:
            model: A timm network, whose configuration says how its images are prepared.
            input_size: (channels, height, width) of the images.
            preparation: What is to differ from that configuration, and how images are read.

        Returns:
            The images to train on, to calibrate with and to test with.

        Raises:
            DataError: when the images are of no use, because there are too few or they cannot be prepared so.
        """


@dataclass(frozen=True)
class MappedCatalogue:
    """A data set whose images can be read by number.

    Without a test split, a fifth of all images is set apart for the test. Of the training images that are left, a tenth
    is set apart for calibration.

    Attributes:
        dataset: What messages and the name of the images call the data set.
        splits: The names of the training split and of the test split, the latter None where there is none.
        classes: Name of a class -> its label.
        train: The images of the training split.
        test: The images of the test split; None to set some of `train` apart.
        notes: Remarks for the log on how the data set was read.
    """

    dataset: str
    splits: tuple[str, str | None]
    classes: ClassMap
    train: Source
    test: Source | None
    notes: Sequence[str] = ()

    @property
    def num_classes(self) -> int:
        """How many outputs a network needs for the classes."""
        return num_classes(self.classes)

    def images(self, model: nn.Module, input_size: tuple[int, int, int], preparation: Preparation) -> MappedImages:
        """Splits the images and prepares them for a network.

        Images of none of the classes are left out. So are images that cannot be decoded, where `preparation` names a
        file to list them in.

        Raises:
            DataError: when a class has no image to train on, one of the three splits has no image, or the images cannot
                be prepared so.
        """
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
    """A data set whose images come as streams.

    Attributes:
        dataset: What messages and the name of the images call the data set.
        splits: The names of the training split and of the test split.
        classes: Name of a class -> its label; None where the data set does not say.
        train: The training stream, of which every tenth sample is for calibration.
        test: The test stream.
        may_have_workers: Whether the streams can be read in several processes.
        notes: Remarks for the log on how the data set was read.
    """

    dataset: str
    splits: tuple[str, str]
    classes: ClassMap | None
    train: Stream
    test: Stream
    may_have_workers: bool = True
    notes: Sequence[str] = ()

    @property
    def num_classes(self) -> int | None:
        """How many outputs a network needs; None where the data set does not say."""
        return None if self.classes is None else num_classes(self.classes)

    def images(self, model: nn.Module, input_size: tuple[int, int, int], preparation: Preparation) -> StreamedImages:
        """Prepares the streams for a network.

        The network's number of outputs counts as the number of classes where the data set does not say it.

        Raises:
            DataError: when images that cannot be decoded are to be left out, which a stream does not allow, when there
                are too few images, or when they cannot be prepared so.
        """
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
    """Names images, classes and transforms: two data sets have the same digest if they agree in all three."""
    through = (preparation.augmentation, preparation.evaluation)
    return hashlib.sha256(repr((images, sorted(classes.items()), through)).encode()).hexdigest()[:12]
