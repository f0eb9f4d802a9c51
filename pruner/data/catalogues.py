"""Opens data sets by name; what a name begins with says which kind of data set it is."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Final

from pruner.data.catalogue import Catalogue
from pruner.data.folder import open_folder
from pruner.data.hugging_face import open_hugging_face, open_hugging_face_stream
from pruner.data.settings import DataSettings
from pruner.data.tensorflow_sets import open_tensorflow
from pruner.data.torchvision_sets import open_torchvision
from pruner.data.unlabelled import open_unlabelled
from pruner.data.webdataset_shards import open_shards
from pruner.errors import DataError

FOLDER: Final = "folder"
UNLABELLED: Final = "unlabelled"
_KINDS: Final[Mapping[str, Callable[[DataSettings], Catalogue]]] = {
    "torch": open_torchvision,
    "hfds": open_hugging_face,
    "hfids": open_hugging_face_stream,
    "wds": open_shards,
    "tfds": open_tensorflow,
}
KINDS: Final = (FOLDER, UNLABELLED, *(f"{kind}/NAME" for kind in _KINDS))


def open_catalogue(settings: DataSettings) -> Catalogue:
    """Opens the data set that the settings name.

    Args:
        settings: Which data set to open. A class map that does not exist is looked for in the data's own folder too.

    Returns:
        What is known of the data set, from which its images can be prepared for a network.

    Raises:
        DataError: when no kind of data set has this name, or the data set cannot be opened.
    """
    settings = _with_class_map_found(settings)
    if settings.dataset in ("", FOLDER):
        return open_folder(settings)
    if settings.dataset == UNLABELLED:
        return open_unlabelled(settings)
    kind, slash, _ = settings.dataset.partition("/")
    found = _KINDS.get(kind.lower()) if slash else None
    if found is None:
        near = difflib.get_close_matches(kind, [FOLDER, UNLABELLED, *_KINDS], n=1)
        nearest = f"nearest: {near[0]}; " if near else ""
        raise DataError(f"no data set is called {settings.dataset!r}; {nearest}there are: digits, {', '.join(KINDS)}")
    return found(settings)


def _with_class_map_found(settings: DataSettings) -> DataSettings:
    """As in timm, a class map that does not exist as named may lie in the data's own folder."""
    asked, root = settings.class_map, settings.root
    if asked is None or root is None or asked.exists() or not (root / asked).exists():
        return settings
    return dataclasses.replace(settings, class_map=root / asked)
