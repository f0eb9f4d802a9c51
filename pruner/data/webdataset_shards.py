"""Data sets in tar files, as WebDataset lays them out and timm describes them. Nothing is downloaded."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pruner._timm import create_reader
from pruner.data.catalogue import StreamedCatalogue
from pruner.data.class_map import ClassMap, load_class_map
from pruner.data.optional import need, told_as_data_errors
from pruner.data.settings import DataSettings
from pruner.data.streamed import Encoded
from pruner.errors import DataError

_IMAGE_SUFFIXES: Final = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True)
class Shards:
    """The tar files of one split, as a stream.

    Each sample has an image, and a label in `.cls` or in a field of `.json`.

    Attributes:
        paths: The tar files.
        field: The field of `.json` that holds the label; empty where `.cls` holds it.
        classes: Name of a class -> its label; None where the samples hold the labels as numbers.
    """

    paths: tuple[Path, ...]
    lengths: tuple[int, ...]
    """Samples of each file; one figure if only that of all together is known."""
    field: str
    classes: ClassMap | None

    @property
    def chunks(self) -> tuple[int, ...]:
        """The number of samples in each tar file, or in all together."""
        return self.lengths

    def read(self, chunk: int) -> Iterator[Encoded]:
        """Yields the samples of chunk number `chunk`, not yet decoded. Raises `DataError` for a damaged file."""
        from webdataset.tariterators import group_by_keys, tar_file_expander

        for path in (self.paths[chunk],) if len(self.lengths) == len(self.paths) else self.paths:
            # Opened here: the library would run a "file" whose name begins with pipe: as a command.
            with told_as_data_errors(str(path), "mend or fetch it again"), path.open("rb") as file:
                for sample in group_by_keys(tar_file_expander([{"url": str(path), "stream": file}])):
                    yield self._encoded(path, sample)

    def _encoded(self, path: Path, sample: Any) -> Encoded:
        place = f"{sample['__key__']} in {path}"
        content = next((sample[suffix] for suffix in _IMAGE_SUFFIXES if suffix in sample), None)
        if content is None:
            raise DataError(f"{place} has no image; there are: {', '.join(sorted(sample))}")
        try:
            label = str(json.loads(sample["json"])[self.field]) if self.field else sample["cls"].decode().strip()
            known = self.classes is not None and label in self.classes
            return Encoded(place, content, self.classes[label] if self.classes is not None and known else int(label))
        except (KeyError, ValueError) as error:
            raise DataError(f"{place} has no label that can be read: {type(error).__name__} {error}") from error

    def digest(self) -> str:
        """Returns a digest of the names and sizes of the files, the numbers of samples and the label's field."""
        files = [(path.name, path.stat().st_size) for path in self.paths]
        return hashlib.sha256(repr((files, self.lengths, self.field)).encode()).hexdigest()


def open_shards(settings: DataSettings) -> StreamedCatalogue:
    """Opens the tar files of `wds/` in the folder `settings.root`.

    With an `_info.json` in the folder, a split is named as it is there. Otherwise it is named by its tar files and by
    how many samples they hold together, as in `data-{000..009}.tar|12000`.

    Raises `DataError` when a file or a split is not there, or the number of samples is not known.
    """
    need("webdataset", settings.dataset)
    if settings.root is None or not settings.root.is_dir():
        raise DataError(f"{settings.dataset} is read from tar files in a folder: name it with --data-dir")
    classes = None if settings.class_map is None else load_class_map(settings.class_map)
    splits = (settings.train_split or "train", settings.val_split or "validation")
    train, test = (_shards(settings, split, classes) for split in splits)
    if set(train.paths) & set(test.paths):
        raise DataError(f"{settings.dataset}: {splits[0]} and {splits[1]} have tar files in common")
    return StreamedCatalogue(settings.dataset, splits, classes, train, test)


def _shards(settings: DataSettings, split: str, classes: ClassMap | None) -> Shards:
    assert settings.root is not None, "tar files have a folder"
    root = settings.root.resolve()
    hint = "name the splits with --train-split and --val-split: data-{000..009}.tar|12000, or those of an _info.json"
    with told_as_data_errors(f"{settings.dataset} in {root}", hint):
        found = create_reader(settings.dataset, root=str(root), split=split).split_info
        paths = tuple(root / name for name in found.filenames)
        if not found.num_samples:
            raise DataError(f"how many samples {split} has is not known; {hint}")
    missing = [path for path in paths if not path.is_file()]
    if missing:
        there = sorted(path.name for path in root.iterdir())[:10]
        raise DataError(f"there is no {missing[0]}; there are: {', '.join(there)}")
    each = len(found.shard_lengths) == len(paths) and sum(found.shard_lengths) == found.num_samples
    lengths = tuple(found.shard_lengths) if each else (found.num_samples,)
    return Shards(paths, lengths, found.alt_label, classes)
