"""Fits block costs to latencies of whole networks, with a weak pull towards what the pieces take alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from scipy.optimize import lsq_linear

from latency.study import RowKey

# A piece's cost alone is trusted to about a tenth, a whole network's reading to about a hundredth: so much weaker is
# the pull towards the prior.
_PRIOR_WEIGHT: Final = 0.1
_RESAMPLES: Final = 40

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

Term = RowKey | tuple[RowKey, RowKey]
"""What a cost belongs to: a row of the latency table, or a pair of rows of which the second directly follows the first
and both became one layer."""


@dataclass(frozen=True)
class WholeNetwork:
    """A whole network that was measured.

    Attributes:
        counts: Term -> how often it stands in the network.
        latency_ms: The latency of the network in milliseconds.
    """

    counts: Mapping[Term, int]
    latency_ms: float


@dataclass(frozen=True)
class Cost:
    """The cost of one term inside whole networks, in milliseconds.

    Attributes:
        in_context_ms: The fitted cost.
        low_ms: The lower bound of its 90 % interval.
        high_ms: The upper bound of its 90 % interval.
    """

    in_context_ms: float
    low_ms: float
    high_ms: float


def in_context_costs(networks: Sequence[WholeNetwork], prior_ms: Mapping[Term, float]) -> dict[Term, Cost]:
    """Fits the cost of each term so that the sums come nearest to the networks' latencies.

    Minimises sum((A c - y)^2 / y^2) + w^2 sum((c - prior)^2 / prior^2), where c are the costs, A the counts, y the
    latencies, and the prior what the pieces took alone. Terms that no network tells apart keep the proportions of their
    priors. The costs of rows are not negative; those of pairs may be. The intervals come from 40 fits of networks drawn
    with replacement (bootstrap).

    Where every network takes exactly what its pieces take alone, the prior makes the sum zero, and nothing else does.
    Then the prior is returned as it is, without a rounding error.

    Args:
        networks: The whole networks that were measured.
        prior_ms: Term -> what it took alone, in milliseconds; for a pair, what the joined layer took less the sum of
            both rows.

    Returns:
        Term -> its cost.

    Example:
        >>> stem, block = ("stem", "keep"), ("block", "keep")
        >>> networks = [WholeNetwork({stem: 1, block: n}, 1.0 + 2.0 * n) for n in (1, 2, 3)]
        >>> costs = in_context_costs(networks, {stem: 1.1, block: 1.9})
        >>> round(costs[stem].in_context_ms, 1), round(costs[block].in_context_ms, 1)
        (1.0, 2.0)
    """
    if _is_explained(networks, prior_ms):
        return {term: Cost(cost_ms, cost_ms, cost_ms) for term, cost_ms in prior_ms.items()}
    terms = list(prior_ms)
    counts = np.array([[network.counts.get(term, 0) for term in terms] for network in networks], dtype=float)
    latencies = np.array([network.latency_ms for network in networks])
    prior = np.array([prior_ms[term] for term in terms])
    lowest = np.array([0.0 if _is_thing(term) else -np.inf for term in terms])
    best = _solve(counts, latencies, prior, lowest)
    random = np.random.default_rng(0)
    drawn = [random.integers(len(networks), size=len(networks)) for _ in range(_RESAMPLES)]
    refits = np.array([_solve(counts[rows], latencies[rows], prior, lowest) for rows in drawn])
    low, high = np.percentile(refits, [5, 95], axis=0)
    return {
        term: Cost(float(best[i]), float(min(low[i], best[i])), float(max(high[i], best[i])))
        for i, term in enumerate(terms)
    }


def additive_costs(counts: Array, latencies_ms: Array, prior_ms: Array) -> Array:
    """Fits the costs of T terms as `in_context_costs` does, on arrays and without intervals; none is negative.

    Args:
        counts: (N, T), how often each term stands in each network.
        latencies_ms: (N,), the latencies of the networks in milliseconds.
        prior_ms: (T,), the cost that each term is drawn to, in milliseconds.

    Returns:
        (T,), the costs in milliseconds.
    """
    return _solve(counts, latencies_ms, prior_ms, np.zeros(len(prior_ms)))


def _is_explained(networks: Sequence[WholeNetwork], prior_ms: Mapping[Term, float]) -> bool:
    """Whether every network takes exactly the sum of its terms' priors, and no row's prior is negative."""
    exact = {term: Fraction(cost_ms) for term, cost_ms in prior_ms.items()}
    return all(cost >= 0 for term, cost in exact.items() if _is_thing(term)) and all(
        sum(exact[term] * count for term, count in network.counts.items()) == Fraction(network.latency_ms)
        for network in networks
    )


def _is_thing(term: Term) -> bool:
    return isinstance(term[0], str)


def _solve(counts: Array, latencies: Array, prior: Array, lowest: Array) -> Array:
    pull = _PRIOR_WEIGHT / np.maximum(np.abs(prior), np.abs(prior).max() * 1e-6)
    design = np.vstack([counts / latencies[:, None], np.diag(pull)])
    target = np.concatenate([np.ones(len(latencies)), pull * prior])
    solved: Array = lsq_linear(design, target, bounds=(lowest, np.inf), method="bvls").x
    return solved
