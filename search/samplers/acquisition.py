"""What evaluating a plan may bring, and what it costs beside others that begin alike."""

import math
from collections.abc import Sequence

import numpy as np

from pruner.choices.plan import Plan
from search.space import Array, Bits, Space

_LEAST: float = 1e-300


def log_expected_improvement(above: Array, deviation: Array) -> Array:
    """(plans,) the logarithm of E[max(0, f)] for normal f of these means (how far above the best so far) and deviations
    (Jones, Schonlau and Welch, Journal of Global Optimization 13, 1998)."""
    if np.isinf(above).all():
        return np.log(np.maximum(deviation, _LEAST))  # nothing is known to improve on: what is least known first
    found = [_expected_improvement(mean, spread) for mean, spread in zip(above, deviation, strict=True)]
    return np.log(np.maximum(found, _LEAST))


def _expected_improvement(mean: float, spread: float) -> float:
    if spread <= 0:
        return max(0.0, mean)
    scaled = mean / spread
    density = math.exp(-scaled * scaled / 2) / math.sqrt(2 * math.pi)
    return mean * 0.5 * math.erfc(-scaled / math.sqrt(2)) + spread * density


class Paths:
    """How much of a plan is left to run when what it begins with was run for another: a share of the blocks."""

    def __init__(self, space: Space, shared: Sequence[Plan]) -> None:
        self._space = space
        self._shared = list(shared)

    def share(self, plan: Plan) -> None:
        """From now on the plan's beginnings are shared too."""
        self._shared.append(plan)

    def left(self, vectors: Bits) -> Array:
        """(plans,) the share of its blocks that are left to run, for vectors (plans, cuts)."""
        left = np.ones(len(vectors))
        for plan in self._shared:
            left = np.minimum(left, self.left_beside(plan, vectors))
        return left

    def left_beside(self, plan: Plan, vectors: Bits) -> Array:
        """(plans,) the same beside one plan alone."""
        count = len(self._space.choices)
        differs = np.zeros((len(vectors), count), dtype=bool)
        other = self._space.vector(plan).astype(np.int8)
        for cut in np.flatnonzero((vectors != other).any(axis=0)):
            differs[:, self._space.places[cut]] |= vectors[:, cut] != other[cut]
        first = np.where(differs.any(axis=1), differs.argmax(axis=1), count)
        left: Array = (count - first) / count
        return left
