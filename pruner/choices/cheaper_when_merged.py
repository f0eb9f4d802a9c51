"""Which choices are better run merged than as they are trained: those whose one layer multiplies less."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pruner.choices.choice import KEEP
from pruner.choices.site import Site


@torch.no_grad()
def cheaper_when_merged(site: Site, choice: str, shape: torch.Size) -> nn.Module | None:
    """What `site` computes as `choice` at lambda 0 in evaluation, merged, for inputs of `shape` (without the batch);
    None where that takes no fewer multiplications. An FFN's two wide linears give way to one narrow one; a ConvNeXt
    block's depthwise 7x7 does not give way to a dense one."""
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
    """Of convolutions and matrices, for one input."""
    dtype = next(module.parameters()).dtype
    counter = FlopCounterMode(display=False)
    with counter:
        module(torch.empty(1, *shape, device="meta", dtype=dtype))
    return int(counter.get_total_flops())
