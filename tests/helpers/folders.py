"""Folders of small images for the tests of data sets, and data sets made of them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from pruner.data.folder import open_folder
from pruner.data.images import WHOLE, Batch, ImageData, Part
from pruner.data.mapped import MappedImages
from pruner.data.settings import DataSettings, Preparation

SIZE = (3, 16, 16)
PLAIN = Preparation()


def write_image(path: Path, mode: str = "RGB", size: tuple[int, int] = (20, 18), shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(shade).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def folder_of(
    root: Path,
    per_class: int = 12,
    splits: tuple[str, ...] = ("train/", "val/"),
    classes: tuple[str, ...] = ("cat", "dog"),
) -> Path:
    for split in splits:
        for label, name in enumerate(classes):
            for index in range(per_class):
                write_image(root / f"{split}{name}" / f"{index}.png", shade=100 * label + index)
    return root


def images_in(root: Path, model: nn.Module, preparation: Preparation = PLAIN, **settings: object) -> MappedImages:
    found = open_folder(DataSettings(root=root, **settings))  # type: ignore[arg-type]
    return found.images(model, SIZE, preparation)


def epoch_of(
    data: ImageData, *, epoch: int = 0, batch_size: int = 4, seed: int = 0, start: int = 0, part: Part = WHOLE
) -> list[Batch]:
    return list(data.train_batches(epoch=epoch, batch_size=batch_size, seed=seed, start=start, part=part))


def equal(one: list[Batch], other: list[Batch]) -> bool:
    """Bit for bit."""
    return len(one) == len(other) > 0 and all(
        torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(one, other, strict=True)
    )


def joined(parts: list[list[Batch]]) -> list[Batch]:
    """The batches of which every part got its share: `parts[rank][step]`."""
    batches = []
    for shares in zip(*parts, strict=True):
        images = torch.empty(sum(len(labels) for _, labels in shares), *shares[0][0].shape[1:])
        labels = torch.empty(len(images), dtype=torch.int64)
        for rank, (some, their_labels) in enumerate(shares):
            images[rank :: len(parts)], labels[rank :: len(parts)] = some, their_labels
        batches.append((images, labels))
    return batches
