"""Images of which nothing says what they show: what the uncut network answers stands in for their labels."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from pruner.data.catalogue import MappedCatalogue
from pruner.data.class_map import ClassMap
from pruner.data.folder import ImageFiles, folder_of
from pruner.data.image_tree import images_below
from pruner.data.images import WHOLE, Batch, ImageData, Part
from pruner.data.settings import DataSettings, Preparation
from pruner.errors import DataError


@dataclass(frozen=True)
class UnlabelledCatalogue:
    """All images in a folder and below it, a fifth set apart for the test, a tenth of the rest for calibration."""

    files: MappedCatalogue
    classes: ClassMap | None = None
    num_classes: int | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        return ("they have no labels: what the uncut network answers counts as right", *self.files.notes)

    def images(self, model: nn.Module, input_size: tuple[int, int, int], preparation: Preparation) -> "AnsweredImages":
        return AnsweredImages(self.files.images(model, input_size, preparation), model)


@dataclass(frozen=True)
class AnsweredImages:
    """Images whose labels are what a network, as it stands, answers to them."""

    images: ImageData
    network: nn.Module = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.images.name}, without labels"

    @property
    def num_classes(self) -> int:
        return int(getattr(self.network, "num_classes", 0))

    @property
    def input_size(self) -> tuple[int, int, int]:
        return self.images.input_size

    def steps_per_epoch(self, batch_size: int) -> int:
        return self.images.steps_per_epoch(batch_size)

    def train_batches(
        self, *, epoch: int, batch_size: int, seed: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        return self._answered(
            self.images.train_batches(epoch=epoch, batch_size=batch_size, seed=seed, start=start, part=part)
        )

    def calibration_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        return self._answered(self.images.calibration_batches(batch_size=batch_size, part=part))

    def test_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        return self._answered(self.images.test_batches(batch_size=batch_size, part=part))

    def _answered(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        like = next(self.network.parameters())
        for images, _ in batches:
            with torch.no_grad():
                answers: torch.Tensor = self.network.eval()(images.to(like)).argmax(dim=1).cpu()
            yield images, answers


def open_unlabelled(settings: DataSettings) -> UnlabelledCatalogue:
    """Raises `DataError` when there is no folder, or no image in it."""
    tree = images_below(folder_of(settings))
    names = tuple(sorted("/".join((*folders, name)) for folders, found in tree.images.items() for name in found))
    if not names:
        raise DataError(f"there are no images in {settings.root}")
    notes = (f"{len(tree.hidden)} hidden images are left out",) if tree.hidden else ()
    files = ImageFiles(tree.root, names, (0,) * len(names))
    return UnlabelledCatalogue(MappedCatalogue(str(settings.root), ("all", None), {"any": 0}, files, None, notes))
