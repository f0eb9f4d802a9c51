"""Data sets of tensorflow_datasets, handed through from timm's reader. No test runs it: TensorFlow is not among what
this project installs."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pruner._timm import create_reader
from pruner.data.catalogue import StreamedCatalogue
from pruner.data.class_map import relabelled
from pruner.data.optional import need, told_as_data_errors
from pruner.data.settings import DataSettings
from pruner.data.streamed import Encoded


@dataclass(frozen=True)
class TensorflowStream:
    """One split; timm's reader divides it among loading processes by itself, so it is read in one."""

    name: str
    reader: Any
    labels: Any

    @property
    def chunks(self) -> tuple[int, ...]:
        return (len(self.reader),)

    def read(self, _chunk: int) -> Iterator[Encoded]:
        for position, (image, label) in enumerate(self.reader):
            yield Encoded(f"image {position} of {self.name}", image, self.labels[label])

    def digest(self) -> str:
        return hashlib.sha256(f"{self.name} {len(self.reader)}".encode()).hexdigest()


def open_tensorflow(settings: DataSettings) -> StreamedCatalogue:
    """`tfds/NAME` under the folder `root`. Raises `DataError` when it cannot be opened."""
    need("tensorflow_datasets", settings.dataset)
    splits = (settings.train_split or "train", settings.val_split or "validation")
    root = None if settings.root is None else str(settings.root)
    with told_as_data_errors(settings.dataset, "nothing is fetched without --dataset-download"):
        readers = [create_reader(settings.dataset, root=root, split=s, download=settings.download) for s in splits]
    names = sorted(readers[0].class_to_idx, key=readers[0].class_to_idx.__getitem__)
    classes, labels = relabelled(settings.class_map, names)
    train, test = (
        TensorflowStream(f"{settings.dataset} {split}", reader, labels)
        for split, reader in zip(splits, readers, strict=True)
    )
    return StreamedCatalogue(settings.dataset, splits, classes, train, test, may_have_workers=False)
