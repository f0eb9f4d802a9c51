"""Masked weights and masks as safetensors files, which describe the masks in JSON and hold no code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
from torch import Tensor

from pruner.masks.masked import Masked
from pruner.masks.parts import BlockPart, GroupedPart, Part

ENTRY: Final = "depthfinder"
_LAYOUT: Final = "depthfinder masks 1"


def weights_file(masked: Masked, images: Mapping[str, Any]) -> bytes:
    """The contents of a file with the masked network's weights, zeros where groups were removed.

    The weights have their own names, so any reader of timm's weights can load them.

    Args:
        masked: The masked network, whose masks are decided.
        images: What the weights were learnt from, for the metadata; plain data.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in masked.hardened().state_dict().items()}
    return safetensors.torch.save(tensors, metadata={ENTRY: json.dumps(_about(masked) | {"images": dict(images)})})


def masks_file(masked: Masked) -> bytes:
    """The contents of a file with a bool mask for every masked weight, under the weight's name.

    A mask over blocks has one entry for each block, (blocks out, blocks in, ...). A mask of N:M has one entry for each
    weight, in the weight's shape. The metadata says so in `layout` and `layers`.

    Args:
        masked: The masked network, of any granularity but channels.
    """
    support = masked.support()
    tensors = {part.weight: _compact(part, support[part.key]).cpu().contiguous() for part in masked.parts}
    layers = {part.weight: _layout(part) for part in masked.parts}
    return safetensors.torch.save(tensors, metadata={ENTRY: json.dumps(_about(masked) | {"layers": layers})})


def read_masks(path: Path) -> dict[str, Tensor]:
    """Reads the masks from a file that `masks_file` made.

    Returns:
        The name of a weight -> its mask, bool and of the weight's shape.

    Raises:
        KeyError: when the file has another layout.
    """
    with safetensors.safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()[ENTRY])
        if about["layout"] != _LAYOUT:
            raise KeyError(f"{path} is laid out as {about['layout']!r}, not as {_LAYOUT!r}")
        return {name: _wide(name, layer, file.get_tensor(name)) for name, layer in about["layers"].items()}


def _about(masked: Masked) -> dict[str, Any]:
    return {"layout": _LAYOUT, "method": masked.method.name, "granularity": masked.granularity.text}


def _layout(part: Part) -> dict[str, Any]:
    if isinstance(part, BlockPart):
        return {"shape": part.shape, "block": part.sides}
    assert isinstance(part, GroupedPart), "channels are removed, not masked"
    return {"shape": part.shape, "neighbours": part.size, "along": 1}


def _compact(part: Part, mask: Tensor) -> Tensor:
    return mask.reshape(part.counts) if isinstance(part, BlockPart) else part.spread(mask)[part.weight]


def _wide(name: str, layer: dict[str, Any], mask: Tensor) -> Tensor:
    if "block" not in layer:
        return mask
    return BlockPart(name, tuple(layer["shape"]), tuple(layer["block"])).spread(mask.flatten())[name]
