"""What the suites try things on: a small vision transformer, and its table of exact figures."""

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
    """Four blocks, 24 wide, 32-pixel images, with weights drawn from one seed; in evaluation mode."""
    torch.manual_seed(0)
    return load_model("deit_tiny_patch16_224", **_STRUCTURE).eval()


def some_images(count: int = 2) -> Tensor:
    """(count, 3, 32, 32), the same each time."""
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@cache
def chain_and_table() -> tuple[Chain, Profile]:
    """The chain of the small network, and its table on the device of exact arithmetic."""
    network = small_network()
    return describe(network), profile(network, Null(), max_seconds=0.1)
