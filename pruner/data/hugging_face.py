"""Data sets of the Hugging Face library, as timm opens them: by number, or as a stream.

Images by number are downloaded only where that is asked for; a stream may come over the network.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from pruner._timm import create_reader
from pruner.data.catalogue import MappedCatalogue, StreamedCatalogue
from pruner.data.class_map import relabelled
from pruner.data.decoding import decode
from pruner.data.optional import need, told_as_data_errors
from pruner.data.settings import DataSettings
from pruner.data.streamed import Encoded
from pruner.errors import DataError

_TRAIN_NAMES: Final = ("train", "training")
_TEST_NAMES: Final = ("validation", "val", "valid", "test", "eval")
_ROWS_AT_ONCE: Final = 16


@dataclass(frozen=True)
class HuggingFaceImages:
    """The images of one split that lies on this machine, by number.

    Attributes:
        name: The data set and the split, for messages.
        reader: timm's reader of the split.
        labels: The label of every image; -1 for an image of none of the classes asked for.
    """

    name: str
    reader: Any
    labels: Sequence[int]

    def image(self, index: int, mode: str) -> Image.Image:
        """Decodes image `index` to the mode "RGB" or "L". Raises `BadImageError` when that fails."""
        file, _ = self.reader[index]
        with file:
            return decode(file, mode, self.place(index))

    def place(self, index: int) -> str:
        """Returns the number of the image and the name of the split, for messages."""
        return f"image {index} of {self.name}"

    def digest(self) -> str:
        """Returns a digest of the labels, the columns and the size of the data set."""
        rows = self.reader.dataset
        return hashlib.sha256(
            repr((tuple(self.labels), sorted(rows.features), rows.info.dataset_size)).encode()
        ).hexdigest()

    def state(self) -> str:
        """Returns the digest together with the library's own fingerprint of the rows."""
        return self.digest() + str(self.reader.dataset._fingerprint)


@dataclass(frozen=True)
class HuggingFaceStream:
    """One split that comes as a stream, from this machine or over the network.

    Attributes:
        name: The data set and the split, for messages.
        rows: The library's iterable of rows, with images that are not yet decoded.
        num_samples: How many rows there are.
        labels: The label of each of the data set's own classes; -1 for one that the class map does not name.
    """

    name: str
    rows: Any
    num_samples: int
    labels: Sequence[int]

    @property
    def chunks(self) -> tuple[int, ...]:
        """The number of samples: the stream is one chunk."""
        return (self.num_samples,)

    def read(self, _chunk: int) -> Iterator[Encoded]:
        """Yields the samples of the stream, not yet decoded."""
        # In batches: row by row, the library gives each loading process some of the rows, and here each needs all.
        position = 0
        for batch in self.rows.iter(batch_size=_ROWS_AT_ONCE):
            for image, label in zip(batch["image"], batch["label"], strict=True):
                content = image["bytes"] if image["bytes"] is not None else Path(image["path"])
                yield Encoded(f"image {position} of {self.name}", content, self.labels[label])
                position += 1

    def digest(self) -> str:
        """Returns a digest of the columns and the number of samples."""
        return hashlib.sha256(repr((self.num_samples, sorted(self.rows.features or ()))).encode()).hexdigest()


def open_hugging_face(settings: DataSettings) -> MappedCatalogue:
    """Opens `hfds/NAME` or `hfds/FOLDER`, whose images are read by number.

    `settings.root` is the library's cache folder; without one, the library uses its own.

    Raises `DataError` when the data set is not on this machine and may not be downloaded, has no such split, or has no
    labels with names.
    """
    train_split, test_split = _splits(settings)
    readers = [_reader(settings, split) for split in (train_split, test_split) if split is not None]
    classes, labels = _classes(settings, readers[0])
    train, *tests = [
        HuggingFaceImages(f"{settings.dataset} {split}", reader, [labels[label] for label in reader.dataset["label"]])
        for split, reader in zip((train_split, test_split), readers, strict=False)
    ]
    return MappedCatalogue(settings.dataset, (train_split, test_split), classes, train, tests[0] if tests else None)


def open_hugging_face_stream(settings: DataSettings) -> StreamedCatalogue:
    """Opens `hfids/NAME`, whose images are read as a stream.

    The stream comes over the network where the data set is not on this machine. With `settings.download` the data set
    is downloaded and kept first.

    Raises `DataError` as `open_hugging_face` does, and when there is no test split or its length is not known.
    """
    train_split, test_split = _splits(settings)
    if test_split is None:
        raise DataError(f"{settings.dataset} has no split to test with: name one with --val-split")
    readers = [_reader(settings, split) for split in (train_split, test_split)]
    classes, labels = _classes(settings, readers[0])
    train, test = (
        HuggingFaceStream(f"{settings.dataset} {reader.split}", _rows(reader), reader.num_samples, labels)
        for reader in readers
    )
    return StreamedCatalogue(settings.dataset, (train_split, test_split), classes, train, test)


def _rows(reader: Any) -> Any:
    if reader.download:
        rows = reader.builder.as_dataset(split=reader.split).to_iterable_dataset()
    else:
        rows = reader.builder.as_streaming_dataset(split=reader.split)
    return rows.decode(False)


def _classes(settings: DataSettings, reader: Any) -> Any:
    if not reader.class_to_idx:
        raise DataError(f"{settings.dataset} has no column 'label' whose classes have names")
    return relabelled(settings.class_map, sorted(reader.class_to_idx, key=reader.class_to_idx.__getitem__))


def _splits(settings: DataSettings) -> tuple[str, str | None]:
    need("datasets", settings.dataset)
    import datasets

    name = settings.dataset.partition("/")[2]
    with _opening(settings):
        there = datasets.get_dataset_split_names(name, cache_dir=_cache(settings))
    for asked in (settings.train_split, settings.val_split):
        if asked is not None and asked.partition("[")[0] not in there:
            raise DataError(f"{settings.dataset} has no split {asked!r}; there are: {', '.join(there)}")
    train = settings.train_split or next((usual for usual in _TRAIN_NAMES if usual in there), None)
    if train is None:
        raise DataError(f"{settings.dataset} has no split to train on; there are: {', '.join(there)}")
    test = settings.val_split or next((usual for usual in _TEST_NAMES if usual in there), None)
    if test == train:
        raise DataError(f"{settings.dataset}: {train} would be trained on and tested with")
    return train, test


def _reader(settings: DataSettings, split: str) -> Any:
    with _opening(settings):
        return create_reader(settings.dataset, root=_cache(settings), split=split, download=settings.download)


def _cache(settings: DataSettings) -> str | None:
    return None if settings.root is None else str(settings.root)


@contextmanager
def _opening(settings: DataSettings) -> Iterator[None]:
    streamed = settings.dataset.lower().startswith("hfids/")
    hint = "nothing is fetched without --dataset-download"
    with told_as_data_errors(settings.dataset, hint), _network(settings.download or streamed):
        yield


@contextmanager
def _network(allowed: bool) -> Iterator[None]:
    """Keeps the library from fetching what is not here, unless that is `allowed`, by the two switches that it reads."""
    import datasets
    import huggingface_hub

    switches: tuple[Any, Any] = (datasets.config, huggingface_hub.constants)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    for switch, offline in zip(switches, before, strict=True):
        switch.HF_HUB_OFFLINE = offline or not allowed
    try:
        yield
    finally:
        for switch, offline in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = offline
