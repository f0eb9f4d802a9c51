"""Resamples the position embeddings of checkpoints from the grid of patches that they were learned on.

A table of N positions does not say which grid it is of: 16 may be 4x4, 2x8 or 1x16. The size of the images that the
caller gives decides it. Without one, the arguments that a training script has left beside the weights are taken, and
then timm's configuration of the architecture, where they give N patches.

Where none of them does, two assumptions remain. If N is a square and the network's grid is square, so is that of the
table. If N is no square and the network's grid has N patches, the table is of the network's grid. The text of the
result tells what was assumed. Any other table is refused.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruner._timm import get_pretrained_cfg
from pruner.errors import CheckpointError
from pruner.models.names import ModelName
from pruner.models.weights_file import FoundWeights

_MOST_PREFIX_TOKENS: Final = 64
Grid = tuple[int, int]
"""Rows and columns of patches."""


@dataclass(frozen=True)
class Positions:
    """The position embeddings of a checkpoint, made to fit a network.

    Attributes:
        name: The name of their tensor in the checkpoint.
        tensor: The embeddings as the network takes them, (1, prefix tokens + patches, channels).
        source: The grid that the checkpoint's embeddings are of.
        target: The grid of the network.
        known_by: How the source grid is known; empty where it is assumed.
    """

    name: str
    tensor: Tensor
    source: Grid
    target: Grid
    known_by: str

    @property
    def is_resampled(self) -> bool:
        """Whether the two grids differ, so that the embeddings were interpolated."""
        return self.source != self.target

    @property
    def text(self) -> str:
        """What was done and what was assumed, in a few words; empty where the grids agree and nothing was assumed."""
        taken = ""
        if not self.known_by:
            taken = f"positions taken for a grid of {_text(self.source)} (say otherwise with --checkpoint-img-size)"
        if not self.is_resampled:
            return taken
        why = f", known by {self.known_by}" if self.known_by else ""
        return f"{taken or 'positions'} resampled from {_text(self.source)} to {_text(self.target)}{why}"


@torch.no_grad()
def fitted_positions(
    model: nn.Module, tensors: Mapping[str, Tensor], found: FoundWeights, img_size: Sequence[int] | None
) -> Positions | None:
    """Finds the position embeddings of a checkpoint, and resamples them to the grid of a network.

    Args:
        model: A timm network.
        tensors: The tensors of the checkpoint, by name.
        found: The same checkpoint as it was read, with what it says of its network and images.
        img_size: The (height, width) of the images that the weights are for, where the caller knows it.

    Returns:
        The embeddings; None where the network or the checkpoint has no table of them over a grid of patches.

    Raises:
        CheckpointError: when the positions are not those of images of `img_size`, or their grid cannot be known.
    """
    embed: Any = getattr(model, "patch_embed", None)
    target, own = getattr(embed, "grid_size", None), model.state_dict().get("pos_embed")
    names = [name for name in tensors if name == "pos_embed" or name.endswith(".pos_embed")]
    if target is None or own is None or own.ndim != 3 or len(names) != 1 or tensors[names[0]].ndim != 3:
        return None
    prefix = own.shape[1] - math.prod(target)
    table = tensors[names[0]]
    if not 0 <= prefix <= min(_MOST_PREFIX_TOKENS, table.shape[1] - 1) or table.shape[2] != own.shape[2]:
        return None
    target = (int(target[0]), int(target[1]))
    source, known_by = _source_grid(model, tensors, found, img_size, table.shape[1] - prefix, target)
    resampled = table if source == target else _resampled(table, prefix, source, target)
    return Positions(names[0], resampled, source, target, known_by)


def _source_grid(
    model: Any,
    tensors: Mapping[str, Tensor],
    found: FoundWeights,
    img_size: Sequence[int] | None,
    count: int,
    target: Grid,
) -> tuple[Grid, str]:
    """The grid that `count` positions are of, and how it is known; the latter empty where the grid is assumed."""
    patch = _patch_size(model, tensors)
    if img_size is not None:
        grid = _grid(img_size, patch)
        if math.prod(grid) != count:
            raise CheckpointError(
                f"{found.path} is not for images of {_text(img_size)}: they would have {_text(grid)} patches of "
                f"{_text(patch)}, and the file has {count} positions"
            )
        return grid, "what was said"
    name = ModelName.parse(found.architecture or model.pretrained_cfg["architecture"])
    published = get_pretrained_cfg(name.architecture)
    for size, known_by in (
        (found.img_size, "the arguments in the file"),
        (None if published is None else published.input_size[1:], "timm's configuration"),
    ):
        if size is not None and math.prod(_grid(size, patch)) == count:
            return _grid(size, patch), known_by
    side = math.isqrt(count)
    is_square = side * side == count
    if target[0] == target[1] and is_square:
        return (side, side), ""
    if math.prod(target) == count and not is_square:
        return target, ""
    grids = ", ".join(_text((rows, count // rows)) for rows in _divisors(count))
    raise CheckpointError(
        f"{found.path} does not fit the model: it cannot be known what grid its {count} positions are of ({grids}), "
        f"and the network has {_text(target)}; say for which images the weights are, with --checkpoint-img-size "
        "HEIGHTxWIDTH, or checkpoint_img_size=(height, width) in Python"
    )


def _patch_size(model: Any, tensors: Mapping[str, Tensor]) -> Grid:
    """(height, width) of a patch, by the file's patch embedding, or by the network's if there is no such one."""
    kernel = next((t for name, t in tensors.items() if name.endswith("patch_embed.proj.weight") and t.ndim == 4), None)
    rows, columns = model.patch_embed.patch_size if kernel is None else kernel.shape[-2:]
    return int(rows), int(columns)


def _grid(size: Sequence[int], patch: Grid) -> Grid:
    return size[0] // patch[0], size[1] // patch[1]


def _divisors(count: int) -> Iterator[int]:
    return (rows for rows in range(1, math.isqrt(count) + 1) if count % rows == 0)


def _text(pair: Sequence[int]) -> str:
    return f"{pair[0]}x{pair[1]}"


def _resampled(table: Tensor, prefix: int, source: Grid, target: Grid) -> Tensor:
    """(1, prefix + N, C), the grid in it interpolated as timm does it: bicubic, with antialiasing."""
    images = table[:, prefix:].float().unflatten(1, source).permute(0, 3, 1, 2)
    images = functional.interpolate(images, size=target, mode="bicubic", antialias=True)
    return torch.cat([table[:, :prefix], images.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)], dim=1)
