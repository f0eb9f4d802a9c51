"""How images are varied for training and cut to size for evaluation, in timm's names and with timm's defaults."""

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
    """What makes tensors of images of `mode`: at random for training, always the same for all else."""

    mode: str
    train: Transform
    evaluation: Transform


def transforms_for(
    model: nn.Module,
    input_size: tuple[int, int, int],
    augmentation: Augmentation = _AS_TIMM,
    evaluation: Evaluation = _AS_THE_MODEL,
) -> Transforms:
    """Raises `DataError` when the network takes no images of 1 or 3 channels, or a setting makes no sense to timm."""
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
    """(mean, std) of each channel by which images are normalised for `model`."""
    config = _config(model, input_size, evaluation)
    return config["mean"], config["std"]


def _config(model: nn.Module, input_size: tuple[int, int, int], evaluation: Evaluation) -> dict[str, Any]:
    """timm's settings for evaluating `model`, with what was asked for in their place."""
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
