"""The expected improvement of plans, and what evaluating them costs beside plans that begin alike."""

import math
from collections.abc import Sequence

import numpy as np

from pruner.choices.plan import Plan
from search.space import Array, Bits, Space

_LEAST: float = 1e-300


def log_expected_improvement(above: Array, deviation: Array) -> Array:
    """The logarithm of the expected improvement E[max(0, f)] of each plan, for normally distributed f.

    Jones, Schonlau and Welch, Journal of Global Optimization 13, 1998. Where all means are infinite, because there is
    no best score to improve on, it is the logarithm of the deviation: plans of which least is known come first.

    Args:
        above: (plans,) the means of f: how far the predicted scores are above the best so far.
        deviation: (plans,) the standard deviations of f.

    Returns:
        (plans,)
    """
    if np.isinf(above).all():
        return np.log(np.maximum(deviation, _LEAST))  # no best score to improve on: what is least known first
    found = [_expected_improvement(mean, spread) for mean, spread in zip(above, deviation, strict=True)]
    return np.log(np.maximum(found, _LEAST))


def _expected_improvement(mean: float, spread: float) -> float:
    if spread <= 0:
        return max(0.0, mean)
    scaled = mean / spread
    density = math.exp(-scaled * scaled / 2) / math.sqrt(2 * math.pi)
    return mean * 0.5 * math.erfc(-scaled / math.sqrt(2)) + spread * density


class Paths:
    """The share of a plan's blocks that is left to run when the blocks it begins with were run for another plan.

    Args:
        space: The space of the plans.
        shared: The plans whose beginnings are run already.
    """

    def __init__(self, space: Space, shared: Sequence[Plan]) -> None:
        self._space = space
        self._shared = list(shared)

    def share(self, plan: Plan) -> None:
        """Adds a plan whose beginnings are shared from now on."""
        self._shared.append(plan)

    def left(self, vectors: Bits) -> Array:
        """(plans,) the share of each plan's blocks that is left to run, for vectors (plans, cuts)."""
        left = np.ones(len(vectors))
        for plan in self._shared:
            left = np.minimum(left, self.left_beside(plan, vectors))
        return left

    def left_beside(self, plan: Plan, vectors: Bits) -> Array:
        """(plans,) the same when only the beginnings of `plan` are shared."""
        count = len(self._space.choices)
        differs = np.zeros((len(vectors), count), dtype=bool)
        other = self._space.vector(plan).astype(np.int8)
        for cut in np.flatnonzero((vectors != other).any(axis=0)):
            differs[:, self._space.places[cut]] |= vectors[:, cut] != other[cut]
        first = np.where(differs.any(axis=1), differs.argmax(axis=1), count)
        left: Array = (count - first) / count
        return left
