"""Linear layers by least squares with a ridge, which is chosen by rows that the fit has not seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pruner.fitting.sums import Sums

RIDGES: Final = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""As shares of the features' mean variance."""

_ROUNDING: Final = 1e-12


@dataclass(frozen=True, eq=False)
class Solution:
    """A layer y = weight x + bias, weight (m, n) and bias (m,) in float64.

    `error` is the mean squared error on rows that took no part in choosing it, as a share of the targets' mean square:
    0 is exact, 1 no better than no layer at all.
    """

    weight: Tensor
    bias: Tensor
    ridge: float
    error: float


def solve(sums: Sums, ridge: float) -> tuple[Tensor, Tensor] | None:
    """The weight and bias that minimise sum w |weight x + bias - y|^2 + ridge v |weight|^2 (Hoerl and Kennard, 1970), w
    what a row counts for and v the mean over the features of sum w (x - mean)^2; None where rounding leaves no such
    minimum, which a larger ridge mends.

    The bias is not shrunk. A feature that never varies has weight 0, whatever the ridge.
    """
    total = sums.inner[-1, -1]  # of what the rows count for
    mean_x, mean_y = sums.inner[-1, :-1] / total, sums.cross[-1] / total
    covariance = sums.inner[:-1, :-1] - total * torch.outer(mean_x, mean_x)
    with_targets = sums.cross[:-1] - total * torch.outer(mean_x, mean_y)
    variance = covariance.diagonal().clone()
    # What varies by no more than rounding does not vary.
    dead = variance <= _ROUNDING * sums.inner.diagonal()[:-1]
    covariance[dead], covariance[:, dead], with_targets[dead] = 0.0, 0.0, 0.0
    shrunk = variance.clamp(min=0).mean() * ridge + dead.double()
    factor, failed = torch.linalg.cholesky_ex(covariance + torch.diag(shrunk))
    if failed:
        return None
    weight = torch.cholesky_solve(with_targets, factor).T
    return weight, mean_y - weight @ mean_x


def fitted(seen: Sums, apart: Sums, groups: Sequence[slice], ridges: Sequence[float] = RIDGES) -> list[Solution]:
    """For each group of targets the layer with the ridge that is best on the rows set `apart`, fitted to all rows.

    Raises `ValueError` where there are no rows.
    """
    if not seen.rows or not apart.rows:
        raise ValueError("there are no rows to fit by, or none to choose a ridge by")
    whole = [float(apart.square[group].sum()) for group in groups]
    best = [(math.inf, ridges[-1])] * len(groups)
    for ridge in ridges:
        found = solve(seen, ridge)
        if found is None:
            continue
        errors = apart.error(*found)
        for place, group in enumerate(groups):
            best[place] = min(best[place], (float(errors[group].sum()), ridge))
    both = seen + apart
    layers = {ridge: solve(both, ridge) for ridge in {ridge for _, ridge in best}}
    solutions = []
    for (error, ridge), group, square in zip(best, groups, whole, strict=True):
        layer = layers[ridge]
        assert layer is not None, "more rows are no nearer to singular"
        share = error / square if square else float(error > 0)
        solutions.append(Solution(layer[0][group], layer[1][group], ridge, share))
    return solutions
