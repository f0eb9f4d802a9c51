"""Data sets in folders of images, one folder a class."""

import difflib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from pruner.data.catalogue import MappedCatalogue
from pruner.data.class_map import ClassMap, load_class_map
from pruner.data.decoding import decode
from pruner.data.image_tree import TIMM, TORCHVISION, ImageTree, Reading, images_below
from pruner.data.settings import DataSettings
from pruner.errors import DataError

# timm's names for the two splits, and test.
_TRAIN_NAMES: Final = ("train", "training")
_TEST_NAMES: Final = ("validation", "val", "valid", "eval", "evaluation", "test")
_SHOWN: Final = 3


@dataclass(frozen=True)
class ImageFiles:
    """Image files below one root folder, and their classes.

    Attributes:
        root: The folder that `names` start from.
        names: The path of every image from the root, with slashes between its parts.
        labels: The class of every image.
    """

    root: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]

    def image(self, index: int, mode: str) -> Image.Image:
        """Decodes image `index` to the mode "RGB" or "L". Raises `BadImageError` when that fails."""
        return decode(self.root / self.names[index], mode, self.place(index))

    def place(self, index: int) -> str:
        """Returns the path of image `index`."""
        return str(self.root / self.names[index])

    def digest(self) -> str:
        """Returns a digest of names, labels and sizes, so that a copy on another machine is the same data."""
        return _digest(f"{name}\0{label}\0{size}" for name, label, size, _ in self._files())

    def state(self) -> str:
        """Returns a digest of names, labels, sizes and the times of the last change."""
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
    """Opens image folders, with the labels that timm's reader gives the classes.

    The images are `FOLDER/train/CLASS/*.png` and `FOLDER/val/CLASS/*.png`, or `FOLDER/CLASS/*.png`, of which a fifth is
    set apart for the test. A tenth of the training images is set apart for calibration; neither is ever trained on.

    The innermost folder of an image names its class. Classes are numbered in natural order: 2 before 10. Hidden images
    are left out; with a class map, so are the classes that it does not name.

    Raises `DataError` when the folder or a split does not exist or has no class folders, holds fewer than two classes,
    or when the splits overlap or differ in their classes.
    """
    return _opened(settings, TIMM)


def open_torchvision_folder(settings: DataSettings) -> MappedCatalogue:
    """Opens image folders, with the labels that torchvision's `ImageFolder` gives the classes.

    This is `open_folder`, but the outermost folder of an image names its class, and classes are numbered in the order
    of the letters: 10 before 2. A class folder without images is refused.
    """
    return _opened(settings, TORCHVISION)


def folder_of(settings: DataSettings) -> Path:
    """Returns the folder of the data set. Raises `DataError` where the settings name none, or it does not exist."""
    if settings.root is None:
        raise DataError(f"{settings.dataset} has no folder to read from: name it with --data-dir")
    if not settings.root.is_dir():
        raise DataError(f"there is no folder {settings.root}{_nearest(settings.root)}")
    return settings.root


def _opened(settings: DataSettings, reading: Reading) -> MappedCatalogue:
    folder = folder_of(settings)
    root = _split(folder, settings.train_split, _TRAIN_NAMES) or folder
    test_root = _split(folder, settings.val_split, _TEST_NAMES)
    if test_root is not None and _overlap(root, test_root):
        raise DataError(f"{test_root} would be trained on: name another folder with --train-split")
    train = _with_class_folders(images_below(root), reading, "")
    test = None
    if test_root is not None:
        way_out = ", or name another split with --val-split"
        if settings.val_split is None:
            way_out += f", or move {test_root.name} away: a fifth of the training images is then set apart for the test"
        test = _with_class_folders(images_below(test_root), reading, way_out)
    classes = _classes(train, test, settings, reading)
    return MappedCatalogue(
        str(folder),
        (root.name if root != folder else "all", test_root.name if test_root is not None else None),
        classes,
        _files(train, classes, reading),
        None if test is None else _files(test, classes, reading),
        tuple(_notes(folder, [train] if test is None else [train, test], classes, reading)),
    )


def _overlap(one: Path, other: Path) -> bool:
    places = one.resolve(), other.resolve()
    return places[0].is_relative_to(places[1]) or places[1].is_relative_to(places[0])


def _with_class_folders(tree: ImageTree, reading: Reading, way_out: str) -> ImageTree:
    """Returns the tree. Raises `DataError`, which says what lies there instead, when it has no class folders."""
    root, beside = tree.root, tree.beside
    if beside and not tree.in_folders:
        raise DataError(
            f"{root} holds {len(beside)} images and no class folders, so nothing says what they show: put each into a "
            f"folder of its class, as in {root}/CLASS/{beside[0]}{way_out}; or go without labels: --dataset unlabelled"
        )
    for folders in tree.in_folders:
        splits = [name for name in folders[:-1] if name.lower() in (*_TRAIN_NAMES, *_TEST_NAMES)]
        if splits:
            holds = root.joinpath(*folders[: folders.index(splits[0])])
            raise DataError(f"{holds / splits[0]} seems to be a split of images: name {holds} with --data-dir")
    empty = [name for name in tree.empty if "/" not in name]
    if reading is TORCHVISION and empty:
        raise DataError(
            f"no images lie in {root / empty[0]}, of which torchvision makes a class: remove it, or read with "
            "--dataset folder"
        )
    return tree


def _classes(train: ImageTree, test: ImageTree | None, settings: DataSettings, reading: Reading) -> ClassMap:
    if settings.class_map is not None:
        return load_class_map(settings.class_map)
    names = reading.ordered(reading.class_of(folders) for folders in train.in_folders)
    if len(names) < 2:
        alone = f" ({names[0]})" if names else ""
        raise DataError(
            f"{train.root} holds {len(names)} folders of images{alone}; one folder a class and at least two are needed"
        )
    if test is not None:
        there = {reading.class_of(folders) for folders in test.in_folders}
        differ = reading.ordered(there ^ set(names))
        if differ:
            only = [f"{name} ({(test if name in there else train).root.name} alone)" for name in differ[:5]]
            raise DataError(
                f"{train.root} and {test.root} differ in their classes: {', '.join(only)}; mend the folders, or name "
                "the classes to take, one a line, with --class-map FILE"
            )
    return {name: label for label, name in enumerate(names)}


def _notes(folder: Path, trees: Sequence[ImageTree], classes: ClassMap, reading: Reading) -> Iterator[str]:
    """Remarks on how these folders are read, where that may surprise."""

    def shown(paths: Sequence[tuple[Path, str]]) -> str:
        names = list(dict.fromkeys((root / path).relative_to(folder).as_posix() for root, path in paths))
        return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")

    hidden = [(tree.root, path) for tree in trees for path in tree.hidden]
    if hidden:
        yield f"{len(hidden)} hidden images are left out, which {reading.reader}'s reader would take: {shown(hidden)}"
    beside = [(tree.root, name) for tree in trees for name in tree.beside]
    if beside:
        yield f"{len(beside)} images lie in no class folder and are left out: {shown(beside)}"
    empty = [(tree.root, path) for tree in trees for path in tree.empty]
    if empty:
        yield f"folders without images are no classes: {shown(empty)}"
    nested = [(tree.root, "/".join(folders)) for tree in trees for folders in tree.in_folders if len(folders) > 1]
    if nested:
        here, other = ("innermost", "torch/folder takes the outermost")
        if reading is TORCHVISION:
            here, other = ("outermost", "folder takes the innermost")
        yield f"of folders in folders the {here} is the class ({shown(nested)}); --dataset {other}"
    found = {reading.class_of(folders) for tree in trees for folders in tree.in_folders}
    unnamed = reading.ordered(found - set(classes))
    if unnamed:
        some = ", ".join(unnamed[:_SHOWN]) + (", ..." if len(unnamed) > _SHOWN else "")
        yield f"left out, for the class map does not name them: {len(unnamed)} classes ({some})"
    by_label = sorted(classes, key=classes.__getitem__)
    if reading is TIMM and by_label == reading.ordered(classes) and by_label != sorted(classes):
        first = next(a for a, b in zip(by_label, sorted(classes), strict=True) if a != b)
        yield (
            f"classes are numbered as timm does, in natural order: {first} is {classes[first]}; a network that learnt "
            "them from torchvision's ImageFolder wants --dataset torch/folder"
        )


def _nearest(folder: Path) -> str:
    beside = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    near = difflib.get_close_matches(folder.name, beside, n=3, cutoff=0.5)
    return f"; nearest in {folder.parent}: {', '.join(near)}" if near else ""


def _split(folder: Path, named: str | None, usual: Sequence[str]) -> Path | None:
    if named is None:
        there = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
        return next((there[name] for name in usual if name in there), None)
    if not (folder / named).is_dir():
        known = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir())[:10])
        raise DataError(f"{folder} has no split {named!r}; there are: {known or 'none'}")
    return folder / named


def _files(tree: ImageTree, classes: ClassMap, reading: Reading) -> ImageFiles:
    names: list[str] = []
    labels: list[int] = []
    by_class = tree.by_class(reading)
    for name, label in classes.items():
        found = by_class.get(name, ())
        names += found
        labels += [label] * len(found)
    return ImageFiles(tree.root, tuple(names), tuple(labels))


def _digest(lines: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(os.fsencode(line) + b"\n")
    return digest.hexdigest()
