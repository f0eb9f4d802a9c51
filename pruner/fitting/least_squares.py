"""Linear layers by ridge regression. The ridge is chosen on held-out rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pruner.fitting.sums import Sums

RIDGES: Final = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""The ridges that are tried, as shares of the features' mean variance."""

_ROUNDING: Final = 1e-12


@dataclass(frozen=True, eq=False)
class Solution:
    """A fitted layer y = weight x + bias.

    Attributes:
        weight: (m, n) in float64, for n features and m targets.
        bias: (m,) in float64.
        ridge: The ridge that was chosen, as a share of the features' mean variance.
        error: The mean squared error on the held-out rows of a fit to the other rows, as a share of the targets' mean
            square: 0 is exact, and 1 is no better than no layer at all.
    """

    weight: Tensor
    bias: Tensor
    ridge: float
    error: float


def solve(sums: Sums, ridge: float) -> tuple[Tensor, Tensor] | None:
    """Solves one ridge regression (Hoerl and Kennard, 1970).

    The solution minimises sum w |weight x + bias - y|^2 + ridge v |weight|^2, where w is the weight of a row and v is
    the mean over the features of sum w (x - mean)^2. The bias is not shrunk. A feature that never varies gets weight
    0, whatever the ridge.

    Args:
        sums: The sums over the rows, for n features and m targets.
        ridge: The ridge, as a share of the features' mean variance.

    Returns:
        The weight (m, n) and the bias (m,) in float64; None where the ridge is too small for the system to be solved in
        float64.

    Example:
        >>> import torch
        >>> from pruner.fitting.least_squares import solve
        >>> from pruner.fitting.sums import Sums
        >>> x = torch.tensor([[0.0], [1.0], [2.0]])
        >>> sums = Sums.empty(features=1, targets=1)
        >>> sums.add(x, 2 * x + 1)
        >>> weight, bias = solve(sums, ridge=1e-9)
        >>> round(weight.item(), 3), round(bias.item(), 3)
        (2.0, 1.0)
    """
    total = sums.inner[-1, -1]  # the sum of the row weights
    mean_x, mean_y = sums.inner[-1, :-1] / total, sums.cross[-1] / total
    covariance = sums.inner[:-1, :-1] - total * torch.outer(mean_x, mean_x)
    with_targets = sums.cross[:-1] - total * torch.outer(mean_x, mean_y)
    variance = covariance.diagonal().clone()
    # A feature that varies by no more than rounding counts as constant.
    dead = variance <= _ROUNDING * sums.inner.diagonal()[:-1]
    covariance[dead], covariance[:, dead], with_targets[dead] = 0.0, 0.0, 0.0
    shrunk = variance.clamp(min=0).mean() * ridge + dead.double()
    factor, failed = torch.linalg.cholesky_ex(covariance + torch.diag(shrunk))
    if failed:
        return None
    weight = torch.cholesky_solve(with_targets, factor).T
    return weight, mean_y - weight @ mean_x


def fitted(seen: Sums, apart: Sums, groups: Sequence[slice], ridges: Sequence[float] = RIDGES) -> list[Solution]:
    """Fits one layer for each group of targets, with the ridge that is best on held-out rows.

    A group's ridge is the one whose fit to the rows of `seen` has the smallest error on the rows of `apart`. The layer
    is then fitted to all rows with that ridge.

    Args:
        seen: The sums over the rows to fit by.
        apart: The sums over the held-out rows.
        groups: The targets of each layer, as slices of all targets.
        ridges: The ridges to try, as shares of the features' mean variance.

    Returns:
        A layer for each group, in the order of `groups`.

    Raises:
        ValueError: when `seen` or `apart` has no rows.
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
