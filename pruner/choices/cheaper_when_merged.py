"""Finds the choices that run faster merged than as they are trained: those whose merged layer multiplies less."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pruner.choices.choice import KEEP
from pruner.choices.site import Site


@torch.no_grad()
def cheaper_when_merged(site: Site, choice: str, shape: torch.Size) -> nn.Module | None:
    """Returns what `site` merges to as `choice`, where the merged module takes fewer multiplications; else None.

    An FFN's two wide linears give way to one narrow linear; a ConvNeXt block's depthwise 7x7 does not give way to a
    dense 7x7.

    Args:
        site: The site of the block.
        choice: One of the block's choices.
        shape: The shape of the block's input, without the batch.

    Returns:
        The merged module in evaluation mode; None for `keep`, for a block of which nothing is left, and where merging
        saves no multiplications.
    """
    if choice == KEEP:
        return None
    # The same on tensors that have a shape and no values: folding a large kernel takes seconds.
    shapeless = copy.deepcopy(site).to("meta").eval()
    shapeless.select(choice, 0.0)
    folded = shapeless.merged(choice)
    if folded is None or _multiplications(folded, shape) >= _multiplications(shapeless, shape):
        return None
    merged = site.merged(choice)
    assert merged is not None, "what is left of a block without values is left of it with them"
    return merged.eval()


def _multiplications(module: nn.Module, shape: torch.Size) -> int:
    """How many operations the convolutions and matrix products take for one input of `shape`."""
    dtype = next(module.parameters()).dtype
    counter = FlopCounterMode(display=False)
    with counter:
        module(torch.empty(1, *shape, device="meta", dtype=dtype))
    return int(counter.get_total_flops())
