"""The images below one folder, and the class of each by the folders that it lies in."""

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
    """How a reader of image folders finds the class of an image, and how it numbers the classes.

    Attributes:
        reader: The reader's name, for messages.
        which: The index of the folder that names the class: 0 for the outermost, -1 for the innermost.
        key: The key that class names are sorted by.

    Example:
        >>> from pruner.data.image_tree import TIMM, TORCHVISION
        >>> TIMM.ordered(["class10", "class2"]), TORCHVISION.ordered(["class10", "class2"])
        (['class2', 'class10'], ['class10', 'class2'])
        >>> TIMM.class_of(("animals", "cat")), TORCHVISION.class_of(("animals", "cat"))
        ('cat', 'animals')
    """

    reader: str
    which: int
    key: Callable[[str], Any]

    def class_of(self, folders: Folders) -> str:
        """Returns which of the folders of an image names its class."""
        return folders[self.which]

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Returns the class names in the reader's order. Raises `DataError` for names that it cannot order."""
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
    """The images that lie in and below one folder.

    An image is hidden if its name, or that of a folder on the way to it, begins with a dot: previews that other
    programs leave.

    Attributes:
        root: The folder itself.
        images: The folders on the way to an image -> the names of the images there, without the hidden ones.
        hidden: For every hidden image, its path from the root up to the first name that begins with a dot.
        empty: The paths from the root of folders that hold neither images nor folders.
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
        """The images that lie in a folder below the root, by the folders on the way to them."""
        return {folders: names for folders, names in self.images.items() if folders}

    def by_class(self, reading: Reading) -> Mapping[str, Sequence[str]]:
        """Returns class -> the paths of its images from the root, with slashes, sorted folder by folder."""
        found: dict[str, list[str]] = {}
        for folders, names in self.in_folders.items():
            found.setdefault(reading.class_of(folders), []).extend("/".join((*folders, name)) for name in names)
        return {name: sorted(paths, key=lambda path: path.split("/")) for name, paths in found.items()}


def images_below(root: Path) -> ImageTree:
    """Finds the images in and below a folder.

    Links are followed, as timm does, except those that lead back to a folder above them. Raises `DataError` for a
    folder that cannot be read.
    """
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
    """The parts of a path up to the first that begins with a dot: a, .b, c -> a, .b."""
    for part in parts:
        yield part
        if part.startswith("."):
            return
