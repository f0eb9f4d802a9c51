"""How images are varied for training and cut to size for evaluation, in timm's names and with timm's defaults."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from PIL import Image
from torch import Tensor, nn

from pruner._timm import create_transform, resolve_data_config
from pruner.errors import DataError

Transform = Callable[[Image.Image], Tensor]
"""An image of any size -> (C, H, W) in float32, normalised."""

_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Augmentation:
    """What training images go through: timm's own defaults."""

    no_aug: bool = False
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    vflip: float = 0.0
    color_jitter: float = 0.4
    auto_augment: str | None = None
    re_prob: float = 0.0
    re_mode: str = "pixel"
    re_count: int = 1
    train_interpolation: str = "random"


@dataclass(frozen=True)
class Evaluation:
    """What differs from the model's own configuration when images are evaluated; None is as the model has it."""

    interpolation: str | None = None
    crop_pct: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Transforms:
    """What makes tensors of images of `mode`: at random for training, always the same for all else."""

    mode: str
    train: Transform
    evaluation: Transform


def transforms_for(
    model: nn.Module,
    input_size: tuple[int, int, int],
    augmentation: Augmentation = Augmentation(),
    evaluation: Evaluation = Evaluation(),
) -> Transforms:
    """Raises `DataError` when the network takes no images of 1 or 3 channels, or a setting makes no sense to timm."""
    channels = input_size[0]
    if channels not in _MODES:
        raise DataError(f"images have 1 or 3 channels, and the model takes {channels}")
    config = _config(model, input_size, evaluation)
    varied = {name: value for name, value in vars(augmentation).items() if name != "train_interpolation"}
    varied |= {"interpolation": augmentation.train_interpolation, "mean": config["mean"], "std": config["std"]}
    return Transforms(
        _MODES[channels],
        _made({"input_size": input_size, "is_training": True} | varied),
        _made(config | {"is_training": False}),
    )


def normalisation(
    model: nn.Module, input_size: tuple[int, int, int], evaluation: Evaluation = Evaluation()
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of each channel by which images are normalised for `model`."""
    config = _config(model, input_size, evaluation)
    return config["mean"], config["std"]


def _config(model: nn.Module, input_size: tuple[int, int, int], evaluation: Evaluation) -> dict[str, Any]:
    """timm's settings for evaluating `model`, with what was asked for in their place."""
    config: dict[str, Any] = resolve_data_config({"input_size": input_size}, model=model)
    config |= {name: value for name, value in vars(evaluation).items() if value is not None}
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
