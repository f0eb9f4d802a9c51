"""Images in folders, one folder a class."""

import difflib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from PIL import Image

from pruner.data.catalogue import MappedCatalogue
from pruner.data.class_map import ClassMap, load_class_map
from pruner.data.decoding import decode
from pruner.data.settings import DataSettings
from pruner.errors import DataError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
_TRAIN_NAMES = ("train", "training")
_TEST_NAMES = ("val", "validation", "test")


@dataclass(frozen=True)
class ImageFiles:
    """The images in the class folders of one root: `names` are paths from there, parted by slashes."""

    root: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]

    def image(self, index: int, mode: str) -> Image.Image:
        return decode(self.root / self.names[index], mode, self.place(index))

    def place(self, index: int) -> str:
        return str(self.root / self.names[index])

    def digest(self) -> str:
        """Of names and sizes, so that a copy on another machine is the same data."""
        return _digest(f"{name}\0{label}\0{size}" for name, label, size, _ in self._files())

    def state(self) -> str:
        """Of names, sizes and the times of the last change."""
        return _digest(f"{name}\0{label}\0{size}\0{changed}" for name, label, size, changed in self._files())

    def _files(self) -> Iterator[tuple[str, int, int, int]]:
        for name, label in zip(self.names, self.labels, strict=True):
            try:
                status = (self.root / name).stat()
            except OSError:
                # A link that leads nowhere is listed too; reading it will say so.
                yield name, label, -1, -1
                continue
            yield name, label, status.st_size, status.st_mtime_ns


def open_folder(settings: DataSettings) -> MappedCatalogue:
    """`FOLDER/train/CLASS/*.png` and `FOLDER/val/CLASS/*.png`, or `FOLDER/CLASS/*.png`, of which a fifth is set apart
    for the test. A tenth of the training images is set apart for calibration; neither is ever trained on.

    With a class map the folders that it does not name are left out.

    Raises `DataError` when the folder or a split is not here, holds fewer than two classes, a class has no training
    image, or the splits differ in their classes.
    """
    assert settings.root is not None, "an image folder has a place"
    folder = settings.root
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}{_nearest(folder)}")
    root = _split(folder, settings.train_split, _TRAIN_NAMES) or folder
    test_root = _split(folder, settings.val_split, _TEST_NAMES)
    if test_root == root or (settings.val_split is not None and root == folder):
        raise DataError(f"{test_root} would be trained on: name another folder with --train-split")
    classes = _classes(root, settings)
    if test_root is not None and settings.class_map is None and _subfolders(test_root) != tuple(classes):
        differ = sorted(set(_subfolders(test_root)) ^ set(classes))
        raise DataError(f"{root} and {test_root} differ in their classes: {', '.join(differ[:5])}")
    return MappedCatalogue(
        str(folder),
        (root.name if root != folder else "all", test_root.name if test_root is not None else None),
        classes,
        _files(root, classes),
        None if test_root is None else _files(test_root, classes),
    )


def _classes(root: Path, settings: DataSettings) -> ClassMap:
    if settings.class_map is not None:
        return load_class_map(settings.class_map)
    names = _subfolders(root)
    if len(names) < 2:
        raise DataError(f"{root} holds {len(names)} folders of images; one folder a class and at least two are needed")
    return {name: label for label, name in enumerate(names)}


def _subfolders(root: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in root.iterdir() if path.is_dir()))


def _nearest(folder: Path) -> str:
    beside = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    near = difflib.get_close_matches(folder.name, beside, n=3, cutoff=0.5)
    return f"; nearest in {folder.parent}: {', '.join(near)}" if near else ""


def _split(folder: Path, named: str | None, usual: Sequence[str]) -> Path | None:
    if named is None:
        return next((folder / name for name in usual if (folder / name).is_dir()), None)
    if not (folder / named).is_dir():
        there = ", ".join(_subfolders(folder)[:10])
        raise DataError(f"{folder} has no split {named!r}; there are: {there or 'none'}")
    return folder / named


def _files(root: Path, classes: ClassMap) -> ImageFiles:
    names: list[str] = []
    labels: list[int] = []
    for name, label in classes.items():
        found = sorted(_images_under(root, name), key=lambda path: path.split("/"))
        names += found
        labels += [label] * len(found)
    return ImageFiles(root, tuple(names), tuple(labels))


def _images_under(root: Path, name: str) -> Iterator[str]:
    for folder, _, files in os.walk(root / name):
        for file in files:
            if file.lower().endswith(_SUFFIXES):
                yield PurePath(folder, file).relative_to(root).as_posix()


def _digest(lines: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(os.fsencode(line) + b"\n")
    return digest.hexdigest()
