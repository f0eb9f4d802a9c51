"""Data sets of tensorflow_datasets, as timm's reader gives them.

No test runs this module, because the project does not install TensorFlow.
"""

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
    """One split, as a stream.

    timm's reader divides a split among loading processes by itself, so it is read in this process alone.

    Attributes:
        name: The data set and the split, for messages.
        reader: timm's reader of the split.
        labels: The label of each of the data set's own classes.
    """

    name: str
    reader: Any
    labels: Any

    @property
    def chunks(self) -> tuple[int, ...]:
        """The number of samples: the stream is one chunk."""
        return (len(self.reader),)

    def read(self, _chunk: int) -> Iterator[Encoded]:
        """Yields the samples of the stream, with images that the reader has decoded."""
        for position, (image, label) in enumerate(self.reader):
            yield Encoded(f"image {position} of {self.name}", image, self.labels[label])

    def digest(self) -> str:
        """Returns a digest of the name and the number of samples."""
        return hashlib.sha256(f"{self.name} {len(self.reader)}".encode()).hexdigest()


def open_tensorflow(settings: DataSettings) -> StreamedCatalogue:
    """Opens `tfds/NAME` under the folder `settings.root`. Raises `DataError` when that fails."""
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
