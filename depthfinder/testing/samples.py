"""Samples for tests and examples: a small vision transformer, images for it, and its exact latency table."""

from functools import cache
from typing import Any, Final

import torch
from torch import Tensor, nn

from latency.devices.null import Null
from latency.profiler import profile
from profiles.profile import Profile
from pruner.choices.chain import Chain
from pruner.models.load import load_model
from pruner.network.surgery import describe

_STRUCTURE: Final[dict[str, Any]] = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 24,
    "depth": 4,
    "num_heads": 2,
    "num_classes": 10,
}


def small_network() -> nn.Module:
    """Returns a DeiT of 4 blocks, 24 wide, for 10 classes of 32-pixel images, in evaluation mode.

    Its weights are drawn from one seed, so that they are the same each time.

    Example:
        >>> small_network()(some_images(2)).shape
        torch.Size([2, 10])
    """
    torch.manual_seed(0)
    return load_model("deit_tiny_patch16_224", **_STRUCTURE).eval()


def some_images(count: int = 2) -> Tensor:
    """Returns random images (count, 3, 32, 32), the same each time."""
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@cache
def chain_and_table() -> tuple[Chain, Profile]:
    """Returns the chain of the small network, and its latency table on the device of exact arithmetic.

    Example:
        >>> chain, table = chain_and_table()
        >>> len(chain.blocks), table.setting.device
        (8, 'null')
    """
    network = small_network()
    return describe(network), profile(network, Null(), max_seconds=0.1)
