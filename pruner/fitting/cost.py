"""How long fitting will take, and how much memory, estimated before it begins."""

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
    """How long `fit_at_once` is expected to take, and the memory of its sums.

    The activations of one batch take memory besides, which is not counted.
    """

    seconds: float
    sums_bytes: int

    @property
    def text(self) -> str:
        """The estimate in words, such as 'about 17 s, and 53 MB for sums'."""
        minutes = self.seconds / 60
        took = f"{self.seconds:.0f} s" if minutes < 1 else f"{minutes:.1f} minutes"
        return f"about {took}, and {self.sums_bytes / 1e6:,.0f} MB for sums"


@torch.no_grad()
def expected_cost(
    network: OpenNetwork, choices: Mapping[str, Sequence[str]], example: Tensor, images: int
) -> FittingCost:
    """Estimates what `fit_at_once` will cost on this machine.

    The estimate adds up the runs of the uncut network, timed on a few images now, and the multiplications of the sums
    and solutions in float64, at the pace of a matrix product that is timed now.

    Args:
        network: The opened network.
        choices: Block -> those of its choices whose layers are to be fitted.
        example: A few images (B, C, H, W); the first four are run.
        images: How many images the layers will be fitted on.
    """
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
    """The time that one multiplication within a matrix product in float64 takes."""
    square = torch.ones(_SIDE, _SIDE, dtype=torch.float64, device=device)
    float((square @ square).sum())  # the first one warms up
    began = time.perf_counter()
    float((square @ square).sum())
    return (time.perf_counter() - began) / _SIDE**3
