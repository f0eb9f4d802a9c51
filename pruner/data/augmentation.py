"""timm's transforms, which vary images for training and cut them to size for evaluation."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from PIL import Image
from torch import Tensor, nn

from pruner._timm import create_transform, resolve_data_config
from pruner.data.variation import Augmentation, Evaluation
from pruner.errors import DataError

Transform = Callable[[Image.Image], Tensor]
"""An image of any size -> (C, H, W) in float32, normalised."""

_MODES = {1: "L", 3: "RGB"}
_AS_TIMM: Final = Augmentation()
_AS_THE_MODEL: Final = Evaluation()
# What timm's function calls what its command line calls otherwise.
_OF_TIMM: Final = {
    "aa": "auto_augment",
    "reprob": "re_prob",
    "remode": "re_mode",
    "recount": "re_count",
    "train_interpolation": "interpolation",
}


@dataclass(frozen=True)
class Transforms:
    """The transforms that turn images into tensors: random ones for training, fixed ones for evaluation.

    Attributes:
        mode: Pillow's mode of the images that both take: "L" for one channel, "RGB" for three.
        train: The transform of training images. It draws from the global random generators.
        evaluation: The transform of all other images. It gives the same tensor each time.
    """

    mode: str
    train: Transform
    evaluation: Transform


def transforms_for(
    model: nn.Module,
    input_size: tuple[int, int, int],
    augmentation: Augmentation = _AS_TIMM,
    evaluation: Evaluation = _AS_THE_MODEL,
) -> Transforms:
    """Makes timm's transforms for the images of one network.

    Args:
        model: A timm network. Its configuration says how images are resized, cropped and normalised.
        input_size: (channels, height, width) of the tensors.
        augmentation: How training images are varied.
        evaluation: Settings that replace those of the network's configuration. Its means and deviations hold for
            training too.

    Returns:
        The transforms for training and for evaluation.

    Raises:
        DataError: when the network takes images of other than 1 or 3 channels, or timm cannot use a setting.

    Example:
        >>> from PIL import Image
        >>> from pruner.data.augmentation import transforms_for
        >>> from pruner.models.load import load_model
        >>> transforms = transforms_for(load_model("deit_digits"), (3, 32, 32))
        >>> transforms.evaluation(Image.new("RGB", (200, 100))).shape
        torch.Size([3, 32, 32])
    """
    channels = input_size[0]
    if channels not in _MODES:
        raise DataError(f"images have 1 or 3 channels, and the model takes {channels}")
    config = _config(model, input_size, evaluation)
    varied = {_OF_TIMM.get(name, name): value for name, value in dataclasses.asdict(augmentation).items()}
    varied |= {"mean": config["mean"], "std": config["std"]}
    return Transforms(
        _MODES[channels],
        _made({"input_size": input_size, "is_training": True} | varied),
        _made(config | {"is_training": False}),
    )


def normalisation(
    model: nn.Module, input_size: tuple[int, int, int], evaluation: Evaluation = _AS_THE_MODEL
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the mean and the deviation of each channel by which images are normalised for a network.

    Args:
        model: A timm network, whose configuration has both.
        input_size: (channels, height, width) of the images. Those of one channel are normalised by the mean over the
            colours.
        evaluation: Its `mean` and `std`, where they are given, replace those of the network's configuration.

    Returns:
        (means, deviations), each with one figure for a channel.

    Raises:
        DataError: when there are neither 1 nor 3 figures, nor as many as channels.
    """
    config = _config(model, input_size, evaluation)
    return config["mean"], config["std"]


def _config(model: nn.Module, input_size: tuple[int, int, int], evaluation: Evaluation) -> dict[str, Any]:
    """timm's settings for evaluating `model`, with those of `evaluation` in their place where they are given."""
    config: dict[str, Any] = resolve_data_config({"input_size": input_size}, model=model)
    config |= {name: value for name, value in dataclasses.asdict(evaluation).items() if value is not None}
    return config | {name: _for_channels(name, config[name], input_size[0]) for name in ("mean", "std")}


def _for_channels(name: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One figure a channel: a gray image is normalised by the mean over the colours."""
    if len(values) not in (1, 3, channels):
        raise DataError(f"--{name} has {len(values)} figures, and the images have {channels} channels")
    if len(values) == channels:
        return tuple(values)
    return (sum(values) / len(values),) * channels


def _made(settings: dict[str, Any]) -> Transform:
    try:
        return cast(Transform, create_transform(**settings))
    except (AssertionError, KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"timm makes no transform of {settings}: {type(error).__name__} {error}") from error
