"""Images in folders, one folder a class, at the size and normalisation the model was made for."""

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from pruner._timm import create_transform, resolve_data_config
from pruner.data.images import Batch, generator
from pruner.errors import DataError

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff"}
_TRAIN_NAMES = ("train", "training")
_TEST_NAMES = ("val", "validation", "test")
_SPLIT_SEED = 20240220
_CALIBRATION_SHARE = 0.1
_TEST_SHARE = 0.2

Sample = tuple[Path, int]


@dataclass(frozen=True)
class ImageFolder:
    """`FOLDER/train/CLASS/*.png` and `FOLDER/val/CLASS/*.png`, or `FOLDER/CLASS/*.png`, of which a fifth is set apart
    for the test. A tenth of the training images is set apart for calibration; neither is ever trained on."""

    name: str
    classes: tuple[str, ...]
    input_size: tuple[int, int, int]
    train: tuple[Sample, ...]
    calibration: tuple[Sample, ...]
    test: tuple[Sample, ...]
    transform: nn.Module

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def steps_per_epoch(self, batch_size: int) -> int:
        return math.ceil(len(self.train) / batch_size)

    def train_batches(self, *, epoch: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Every training image once, in an order of the epoch's own, half of them mirrored."""
        random = generator(seed, epoch)
        order = torch.randperm(len(self.train), generator=random).tolist()
        for start in range(0, len(order), batch_size):
            images, labels = self._read([self.train[i] for i in order[start : start + batch_size]])
            mirrored = torch.rand(len(images), generator=random) < 0.5
            images[mirrored] = images[mirrored].flip(-1)
            yield images, labels

    def calibration_batches(self, *, batch_size: int) -> Iterator[Batch]:
        return self._in_order(self.calibration, batch_size)

    def test_batches(self, *, batch_size: int) -> Iterator[Batch]:
        return self._in_order(self.test, batch_size)

    def _in_order(self, samples: Sequence[Sample], batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(samples), batch_size):
            yield self._read(samples[start : start + batch_size])

    def _read(self, samples: Sequence[Sample]) -> Batch:
        images = torch.stack([self._image(path) for path, _ in samples])
        return images, torch.tensor([label for _, label in samples])

    def _image(self, path: Path) -> torch.Tensor:
        try:
            with Image.open(path) as image:
                pixels: torch.Tensor = self.transform(image.convert("RGB" if self.input_size[0] == 3 else "L"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} cannot be read as an image: {error}; mend or remove it") from error
        return pixels


def image_folder(folder: Path, model: nn.Module, input_size: tuple[int, int, int]) -> ImageFolder:
    """The images under `folder`, prepared as timm's configuration of `model` says.

    Raises `DataError` when the folder is not here, holds fewer than two classes, or its splits differ in their classes.
    """
    classes = class_names(folder)
    root, test_root = _train_root(folder), _split(folder, _TEST_NAMES)
    train = _samples(root, classes)
    if test_root is None:
        train, test = _set_apart(train, _TEST_SHARE, len(classes))
    elif _subfolders(test_root) != classes:
        differ = sorted(set(_subfolders(test_root)) ^ set(classes))
        raise DataError(f"{root} and {test_root} differ in their classes: {', '.join(differ[:5])}")
    else:
        test = _samples(test_root, classes)
    train, calibration = _set_apart(train, _CALIBRATION_SHARE, len(classes))
    if not train or not calibration or not test:
        raise DataError(
            f"{folder} holds too few images to train on, calibrate and test with: {len(train)} are left to train"
        )
    config = resolve_data_config({"input_size": input_size}, model=model)
    transform = create_transform(**config, is_training=False)
    return ImageFolder(str(folder), classes, input_size, train, calibration, test, transform)


def class_names(folder: Path) -> tuple[str, ...]:
    """The classes of an image folder, in the order of their labels. Raises `DataError` if there are not two."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}{_nearest(folder)}")
    root = _train_root(folder)
    classes = _subfolders(root)
    if len(classes) < 2:
        raise DataError(
            f"{root} holds {len(classes)} folders of images; one folder a class and at least two are needed"
        )
    return classes


def _train_root(folder: Path) -> Path:
    return _split(folder, _TRAIN_NAMES) or folder


def _subfolders(root: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in root.iterdir() if path.is_dir()))


def _nearest(folder: Path) -> str:
    beside = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    near = difflib.get_close_matches(folder.name, beside, n=3, cutoff=0.5)
    return f"; nearest in {folder.parent}: {', '.join(near)}" if near else ""


def _split(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _samples(root: Path, classes: Sequence[str]) -> tuple[Sample, ...]:
    return tuple(
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((root / name).rglob("*"))
        if path.suffix.lower() in _SUFFIXES
    )


def _set_apart(samples: Sequence[Sample], share: float, least: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """(the rest, the share set apart): drawn by a seed of its own, so that every run sets the same images apart."""
    order = torch.randperm(len(samples), generator=generator(_SPLIT_SEED, len(samples))).tolist()
    count = min(max(least, round(share * len(samples))), len(samples))
    chosen = set(order[:count])
    rest = tuple(sample for index, sample in enumerate(samples) if index not in chosen)
    return rest, tuple(sample for index, sample in enumerate(samples) if index in chosen)
