"""What fitting costs, told before it begins."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pruner.algebra.modules import only_training
from pruner.fitting.at_once import works_of
from pruner.fitting.uncut_run import run_uncut
from pruner.network.surgery import OpenNetwork

_SIDE: Final = 768
_RIDGES_TRIED: Final = 9
_FEW: Final = 4


@dataclass(frozen=True)
class FittingCost:
    """How long `fit_at_once` is expected to take, and the memory of its sums; it holds one batch's activations too."""

    seconds: float
    sums_bytes: int

    @property
    def text(self) -> str:
        minutes = self.seconds / 60
        took = f"{self.seconds:.0f} s" if minutes < 1 else f"{minutes:.1f} minutes"
        return f"about {took}, and {self.sums_bytes / 1e6:,.0f} MB for sums"


@torch.no_grad()
def expected_cost(
    network: OpenNetwork, choices: Mapping[str, Sequence[str]], example: Tensor, images: int
) -> FittingCost:
    """From a run of the uncut network over a few of the `example` images (B, C, H, W), and from how many products there
    are to take in float64, at the pace of one that is taken now. `images` is how many there will be."""
    few = example[:_FEW]
    with only_training(network, []):
        began = time.perf_counter()
        run = run_uncut(network, few, seed=0)
        run_s = (time.perf_counter() - began) / len(few)
    products = 0.0
    sums_bytes = 0
    for work in works_of(network, choices, images):
        features, targets = work.way.features + 1, len(work.seen.square)
        y = run.before_end[work.block]
        there = y.shape[1] if y.dim() == 3 else y.shape[2] * y.shape[3]
        rows = images * min(there, work.wanted)
        solving = _RIDGES_TRIED * features**2 * (features / 3 + 2 * targets)
        products += rows * features * (features + targets) + len(work.way.choices) * solving
        sums_bytes += 2 * (work.seen.inner.nbytes + work.seen.cross.nbytes)
    return FittingCost(run_s * images + products * _seconds_a_product(few.device), sums_bytes)


def _seconds_a_product(device: torch.device) -> float:
    """Of one multiplication within a matrix product in float64."""
    square = torch.ones(_SIDE, _SIDE, dtype=torch.float64, device=device)
    float((square @ square).sum())  # the first one warms up
    began = time.perf_counter()
    float((square @ square).sum())
    return (time.perf_counter() - began) / _SIDE**3
