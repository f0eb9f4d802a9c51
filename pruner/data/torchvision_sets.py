"""The data sets that torchvision reads, as timm opens them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from pruner._timm import create_dataset
from pruner.data.catalogue import MappedCatalogue
from pruner.data.class_map import relabelled
from pruner.data.decoding import in_mode
from pruner.data.folder import open_torchvision_folder
from pruner.data.optional import told_as_data_errors
from pruner.data.settings import DataSettings
from pruner.errors import DataError

# timm takes every name that is not the training split's for the test split, even a misspelt one.
_TRAIN_SPLITS: Final = ("train", "training")
_TEST_SPLITS: Final = ("test", "val", "valid", "validation", "eval", "evaluation")
_TWO_SPLITS: Final = ("cifar10", "cifar100", "mnist", "kmnist", "fashion_mnist", "qmnist")


@dataclass(frozen=True)
class TorchvisionImages:
    """One split of a data set that torchvision reads.

    Attributes:
        name: The data set and the split, for messages.
        dataset: torchvision's data set, without a transform.
        labels: The label of every image; -1 for an image of none of the classes asked for.
    """

    name: str
    dataset: Any
    labels: Sequence[int]

    def image(self, index: int, mode: str) -> Image.Image:
        """Decodes image `index` to the mode "RGB" or "L". Raises `BadImageError` when that fails."""
        return in_mode(lambda: self.dataset[index][0], mode, self.place(index))

    def place(self, index: int) -> str:
        """Returns the number of the image and the name of the split, for messages."""
        return f"image {index} of {self.name}"

    def digest(self) -> str:
        """Returns a digest of the labels, and of the pixels where torchvision holds them in memory."""
        digest = hashlib.sha256(repr(tuple(self.labels)).encode())
        data = getattr(self.dataset, "data", None)
        if data is not None:
            digest.update(np.ascontiguousarray(data).tobytes())
        return digest.hexdigest()

    def state(self) -> str:
        """Returns the digest, which stands for the state too."""
        return self.digest()


def open_torchvision(settings: DataSettings) -> MappedCatalogue:
    """Opens `torch/NAME` under the folder `settings.root`; `torch/folder` and `torch/image_folder` are image folders.

    Raises `DataError` when the data set is not there, or has no such split.
    """
    name = settings.dataset.partition("/")[2].lower()
    if name in ("folder", "image_folder"):
        return open_torchvision_folder(settings)
    train_split, test_split = settings.train_split or "train", settings.val_split or "validation"
    if name in _TWO_SPLITS and (train_split not in _TRAIN_SPLITS or test_split not in _TEST_SPLITS):
        raise DataError(
            f"{settings.dataset} has a split to train on, train, and one to test with, test: "
            f"not {train_split} and {test_split}"
        )
    train, test = (_opened(settings, split) for split in (train_split, test_split))
    names = [str(known) for known in getattr(train, "classes", None) or range(max(_labels(train)) + 1)]
    classes, labels = relabelled(settings.class_map, names)
    sources = [
        TorchvisionImages(f"{settings.dataset} {split}", found, [labels[label] for label in _labels(found)])
        for split, found in ((train_split, train), (test_split, test))
    ]
    return MappedCatalogue(settings.dataset, (train_split, test_split), classes, sources[0], sources[1])


def _opened(settings: DataSettings, split: str) -> Any:
    hint = "name its folder with --data-dir" + ("" if settings.download else ", or fetch it with --dataset-download")
    root = None if settings.root is None else str(settings.root)
    with told_as_data_errors(f"{settings.dataset} in {root}", hint):
        return create_dataset(settings.dataset, root=root, split=split, download=settings.download)


def _labels(dataset: Any) -> list[int]:
    """The labels, which most of torchvision's data sets keep apart from the images, so that none is decoded."""
    targets = getattr(dataset, "targets", None)
    if targets is None:
        targets = [label for label, _ in dataset.index]
    array = np.asarray(targets)
    return [int(label) for label in (array if array.ndim == 1 else array[:, 0])]
