"""The images below one folder, and which class each is of by the folders on its way."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pruner._timm import natural_key
from pruner.errors import DataError

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")

Folders = tuple[str, ...]
"""The folders on the way from the root to an image; none for an image in the root itself."""


@dataclass(frozen=True)
class Reading:
    """Which of the folders that an image lies in names its class, and in which order classes are numbered."""

    reader: str
    which: int
    key: Callable[[str], Any]

    def class_of(self, folders: Folders) -> str:
        return folders[self.which]

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Raises `DataError` for names that the reader itself cannot put in order."""
        try:
            # Names that the key holds for equal (A and a) stand in the order of their letters.
            return sorted(sorted(set(names)), key=self.key)
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{self.reader}'s reader cannot put these folders in order: {error}; rename them"
            ) from error


TIMM: Final = Reading("timm", -1, natural_key)
"""The innermost folder, in natural order: 2 before 10."""
TORCHVISION: Final = Reading("torchvision", 0, str)
"""The outermost folder, in the order of the letters: 10 before 2."""


@dataclass(frozen=True)
class ImageTree:
    """What lies below `root`: the names of the images in each folder, those that are hidden, folders without any.

    An image is hidden whose name, or one of whose folders, begins with a dot: a preview that another program left.
    """

    root: Path
    images: Mapping[Folders, Sequence[str]]
    hidden: Sequence[str]
    empty: Sequence[str]

    @property
    def beside(self) -> Sequence[str]:
        """The images in the root itself, which are in no class folder."""
        return self.images.get((), ())

    @property
    def in_folders(self) -> Mapping[Folders, Sequence[str]]:
        return {folders: names for folders, names in self.images.items() if folders}

    def by_class(self, reading: Reading) -> Mapping[str, Sequence[str]]:
        """Class -> its images: paths from the root, parted by slashes, in an order of their own."""
        found: dict[str, list[str]] = {}
        for folders, names in self.in_folders.items():
            found.setdefault(reading.class_of(folders), []).extend("/".join((*folders, name)) for name in names)
        return {name: sorted(paths, key=lambda path: path.split("/")) for name, paths in found.items()}


def images_below(root: Path) -> ImageTree:
    """Links are followed, as timm does, but for those that lead back. Raises `DataError` for a folder that cannot be
    read."""
    images: dict[Folders, Sequence[str]] = {}
    hidden: list[str] = []
    empty: list[str] = []
    for place, inside, files in os.walk(root, onerror=_refuse, followlinks=True):
        inside[:] = sorted(name for name in inside if not _leads_back(Path(place, name)))
        folders = Path(place).relative_to(root).parts
        found = [name for name in files if name.lower().endswith(SUFFIXES)]
        shown = [name for name in found if not _is_hidden((*folders, name))]
        hidden += ["/".join(_hidden_part((*folders, name))) for name in found if _is_hidden((*folders, name))]
        if shown:
            images[folders] = shown
        elif folders and not inside and not found and not _is_hidden(folders):
            empty.append("/".join(folders))
    return ImageTree(root, images, hidden, empty)


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error


def _leads_back(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _is_hidden(parts: Iterable[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def _hidden_part(parts: Sequence[str]) -> Iterator[str]:
    """a, .b, c -> a, .b"""
    for part in parts:
        yield part
        if part.startswith("."):
            return
