"""Images without labels: the answers of the uncut network stand in for them."""

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
    """All images in a folder and below it, without labels.

    A fifth of them is set apart for the test, and a tenth of the rest for calibration.

    Attributes:
        files: The images, all of one class that means nothing.
        classes: None: there are no classes.
        num_classes: None: it is the network that says how many outputs there are.
    """

    files: MappedCatalogue
    classes: ClassMap | None = None
    num_classes: int | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the log on how the images were read."""
        return ("they have no labels: what the uncut network answers counts as right", *self.files.notes)

    def images(self, model: nn.Module, input_size: tuple[int, int, int], preparation: Preparation) -> "AnsweredImages":
        """Prepares the images for a network, whose answers become their labels.

        Raises:
            DataError: when there are too few images, or they cannot be prepared so.
        """
        return AnsweredImages(self.files.images(model, input_size, preparation), model)


@dataclass(frozen=True)
class AnsweredImages:
    """Images whose labels are the answers of a network.

    Attributes:
        images: The images; their own labels are not used.
        network: The network that answers, with the weights that it has when a batch is made.
    """

    images: ImageData
    network: nn.Module = field(repr=False)

    @property
    def name(self) -> str:
        """Says which images these are, and that they have no labels."""
        return f"{self.images.name}, without labels"

    @property
    def num_classes(self) -> int:
        """How many outputs the network has; 0 where it does not say."""
        return int(getattr(self.network, "num_classes", 0))

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return self.images.input_size

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns how many steps an epoch has, with batches of so many images."""
        return self.images.steps_per_epoch(batch_size)

    def train_batches(
        self, *, epoch: int, batch_size: int, seed: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """Yields the training batches of the images, labelled with the network's answers."""
        return self._answered(
            self.images.train_batches(epoch=epoch, batch_size=batch_size, seed=seed, start=start, part=part)
        )

    def calibration_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """Yields the calibration images, labelled with the network's answers."""
        return self._answered(self.images.calibration_batches(batch_size=batch_size, part=part))

    def test_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """Yields the test images, labelled with the network's answers."""
        return self._answered(self.images.test_batches(batch_size=batch_size, part=part))

    def _answered(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        like = next(self.network.parameters())
        for images, _ in batches:
            with torch.no_grad():
                answers: torch.Tensor = self.network.eval()(images.to(like)).argmax(dim=1).cpu()
            yield images, answers


def open_unlabelled(settings: DataSettings) -> UnlabelledCatalogue:
    """Opens all images in and below `settings.root`. Raises `DataError` when there is no folder, or no image in it."""
    tree = images_below(folder_of(settings))
    names = tuple(sorted("/".join((*folders, name)) for folders, found in tree.images.items() for name in found))
    if not names:
        raise DataError(f"there are no images in {settings.root}")
    notes = (f"{len(tree.hidden)} hidden images are left out",) if tree.hidden else ()
    files = ImageFiles(tree.root, names, (0,) * len(names))
    return UnlabelledCatalogue(MappedCatalogue(str(settings.root), ("all", None), {"any": 0}, files, None, notes))
