"""The size of the images that a network takes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn

from pruner.algebra.modules import only_training

ImageSize = tuple[int, int, int]
"""(channels, height, width) of images."""

OPENED_AT: Final = "opened_at"
"""The key under which opened and merged networks have the height and width of their images in `pretrained_cfg`."""


def input_size_of(model: nn.Module, asked: Sequence[int] | None = None) -> ImageSize:
    """Returns (channels, height, width) of the images that a timm model takes.

    The size is `asked`, if given. Else the channels are those of the model's first convolution; height and width are
    those that the network fixes, as a ViT does, else those that it was opened or loaded at, else those of timm's
    configuration or Hugging Face's, else 224 x 224.

    Raises:
        ValueError: when `asked` is no size, or has another number of channels than the network.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> input_size_of(small_network())
        (3, 32, 32)
    """
    configuration: Any = getattr(model, "pretrained_cfg", None) or {}
    known = configuration.get("input_size") or _of_hugging_face(model) or (3, 224, 224)
    if asked is not None:
        if len(asked) != 3 or not all(isinstance(side, int) and side > 0 for side in asked):
            raise ValueError(f"input_size is (channels, height, width), such as (3, 224, 224), not {asked!r}")
        channels = _channels(model, configuration, known[0], asked[1:])
        if asked[0] != channels:
            raise ValueError(f"this {type(model).__name__} takes images of {channels} channels, not {asked[0]}")
        return channels, asked[1], asked[2]
    embed: Any = getattr(model, "patch_embed", None)
    sides = getattr(embed, "img_size", None) or known[1:]
    if not getattr(embed, "strict_img_size", False):
        sides = configuration.get(OPENED_AT, sides)
    return _channels(model, configuration, known[0], sides), *sides


def _of_hugging_face(model: nn.Module) -> tuple[int, int, int] | None:
    """The size that a network's configuration says, as Hugging Face writes it."""
    configuration: Any = getattr(model, "config", None)
    sides, channels = getattr(configuration, "image_size", None), getattr(configuration, "num_channels", 3)
    sides = (sides, sides) if isinstance(sides, int) else sides
    return (channels, *sides) if isinstance(sides, (list, tuple)) and len(sides) == 2 else None


def _channels(model: nn.Module, configuration: Mapping[str, Any], told: int, sides: Sequence[int]) -> int:
    """How many channels the images have: as many as the first convolution takes. A network may rearrange its images
    before that: then as many as the configuration says, if it runs on such images alone."""
    first = _first_channels(model, configuration)
    if first is None or first == told or not configuration:
        return first or told
    return told if _runs(model, told, sides) and not _runs(model, first, sides) else first


@torch.no_grad()
def _runs(model: nn.Module, channels: int, sides: Sequence[int]) -> bool:
    """Whether the network takes images of so many channels."""
    like = next(parameter for parameter in model.parameters() if parameter.is_floating_point())
    with only_training(model, []):
        try:
            model(torch.zeros(1, channels, *sides).to(like))
        except (RuntimeError, ValueError, AssertionError):
            return False
    return True


def _first_channels(model: nn.Module, configuration: Mapping[str, Any]) -> int | None:
    """How many channels the first convolution of the network takes; None where the network has no convolution."""
    named = configuration.get("first_conv") or ""
    name = named if isinstance(named, str) else named[0]
    modules = dict(model.named_modules())
    convolutions = (module for module in modules.get(name, model).modules() if isinstance(module, nn.Conv2d))
    first = next(convolutions, None) or next((one for one in modules.values() if isinstance(one, nn.Conv2d)), None)
    return None if first is None else first.in_channels
