"""The images that a run was asked for: found before there is a model, prepared when there is one."""

from pathlib import Path
from typing import Final

from torch import nn

from depthfinder.arguments import RunArguments
from pruner.chain import Chain
from pruner.data.catalogue import Catalogue
from pruner.data.digits import DigitScenes
from pruner.data.folder import open_folder
from pruner.data.images import ImageData
from pruner.data.settings import DataSettings, Preparation
from pruner.errors import DataError

DATASETS: Final = ("digits", "folder")


def find_catalogue(arguments: RunArguments) -> Catalogue | None:
    """The data set as it is on this machine; None for the built-in one, and where no place was named."""
    if arguments.dataset == "digits":
        return None
    if arguments.dataset != "folder":
        raise DataError(f"no data set is called {arguments.dataset!r}; there are: {', '.join(DATASETS)}")
    return None if arguments.data_dir is None else open_folder(DataSettings(root=Path(arguments.data_dir)))


def build_data(arguments: RunArguments, catalogue: Catalogue | None, model: nn.Module, chain: Chain) -> ImageData:
    """Raises `DataError` when there is no data, or none that fits the model."""
    if catalogue is not None:
        return catalogue.images(model, chain.input_size, Preparation())
    if arguments.dataset != "digits":
        raise DataError(
            f"no images to judge {arguments.model} by: name an ImageFolder with --data-dir FOLDER "
            "(FOLDER/train/CLASS/..., FOLDER/val/CLASS/...)"
        )
    digits = DigitScenes()
    if digits.input_size != chain.input_size:
        raise DataError(f"digits are images of {digits.input_size}, {arguments.model} takes {chain.input_size}")
    return digits
