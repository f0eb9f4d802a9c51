"""Finds the images that a run was asked for, and prepares them for its model."""

from pathlib import Path
from typing import Final

from torch import nn

from depthfinder.config.data import DataConfig
from depthfinder.console import log
from pruner.choices.chain import Chain
from pruner.data.augmentation import normalisation
from pruner.data.bad_images import count_listed
from pruner.data.catalogue import Catalogue
from pruner.data.catalogues import FOLDER, open_catalogue
from pruner.data.digits import DigitScenes
from pruner.data.images import ImageData
from pruner.data.settings import DataSettings, Preparation
from pruner.errors import DataError
from pruner.models.trained_on import TrainedOn
from pruner.progress import Progress

BAD_IMAGES: Final = "bad-images.txt"
_DIGITS: Final = "digits"


def find_catalogue(asked: DataConfig) -> Catalogue | None:
    """Finds the data set that was asked for.

    Returns:
        The data set, not prepared for a model yet; None for the built-in one, and where no folder was named.

    Raises:
        DataError: when there is no such data set.
    """
    if asked.dataset == _DIGITS or (asked.dataset == FOLDER and asked.data_dir is None):
        return None
    return open_catalogue(
        DataSettings(
            dataset=asked.dataset,
            root=None if asked.data_dir is None else Path(asked.data_dir),
            train_split=asked.train_split,
            val_split=asked.val_split,
            class_map=None if asked.class_map is None else Path(asked.class_map),
            download=asked.dataset_download,
        )
    )


def build_data(
    asked: DataConfig,
    catalogue: Catalogue | None,
    model: nn.Module,
    chain: Chain,
    bad_images: Path,
    progress: Progress,
) -> ImageData:
    """Prepares the images for a model.

    Args:
        asked: The settings of the images.
        catalogue: The data set that `find_catalogue` returned.
        model: The network, for the normalisation that it was trained with.
        chain: Its chain, for the size of its images.
        bad_images: The file that lists images which cannot be decoded, where they are to be left out.
        progress: Called with the images read, the images in all, and a note.

    Raises:
        DataError: when no images were named, or they do not fit the model.
    """
    if catalogue is not None:
        return catalogue.images(model, chain.input_size, _preparation(asked, bad_images, progress))
    if asked.dataset != _DIGITS:
        raise DataError(
            f"no images to judge {chain.model} by: name an ImageFolder with --data-dir FOLDER "
            "(FOLDER/train/CLASS/..., FOLDER/val/CLASS/...)"
        )
    digits = DigitScenes()
    if digits.input_size != chain.input_size:
        raise DataError(f"digits are images of {digits.input_size}, {chain.model} takes {chain.input_size}")
    return digits


def described_images(asked: DataConfig, catalogue: Catalogue | None, model: nn.Module, chain: Chain) -> TrainedOn:
    """Returns the classes, the size and the normalisation of the images that a model is given."""
    size = chain.input_size[1:]
    if catalogue is None:
        return TrainedOn(sizes=(size,))
    mean, std = normalisation(model, chain.input_size, asked.evaluation)
    return TrainedOn(catalogue.classes, (size,), mean, std)


def tell_of_reading(catalogue: Catalogue | None) -> None:
    """Logs what may be unexpected in how the data set was read."""
    for note in () if catalogue is None else catalogue.notes:
        log.info("images: %s", note)


def tell_of_bad_images(asked: DataConfig, listed: Path) -> None:
    """Logs how many images are left out because they cannot be decoded."""
    if asked.skip_bad_images and listed.is_file():
        log.info("images that cannot be decoded and are left out: %d, named in %s", count_listed(listed), listed)


def _preparation(asked: DataConfig, bad_images: Path, progress: Progress) -> Preparation:
    return Preparation(
        augmentation=asked.augmentation,
        evaluation=asked.evaluation,
        workers=asked.data_workers,
        bad_images=bad_images if asked.skip_bad_images else None,
        progress=progress,
    )
