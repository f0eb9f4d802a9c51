"""From whole networks to block costs: an additive fit that leans on what the pieces cost alone."""

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
"""What a cost belongs to: a thing, or one thing that directly follows another."""


@dataclass(frozen=True)
class WholeNetwork:
    """How often each term stands in a network, and what the network took."""

    counts: Mapping[Term, int]
    latency_ms: float


@dataclass(frozen=True)
class Cost:
    """In ms, with its 90 % interval."""

    in_context_ms: float
    low_ms: float
    high_ms: float


def in_context_costs(networks: Sequence[WholeNetwork], prior_ms: Mapping[Term, float]) -> dict[Term, Cost]:
    """Costs per term whose sums come nearest to the networks' latencies; those of things are not negative.

    Minimises sum((A c - y)^2 / y^2) + w^2 sum((c - prior)^2 / prior^2), A the counts and the prior what the
    pieces took alone: what no network tells apart from something else keeps its prior's share. The intervals come from
    fits of networks drawn with replacement.

    Where every network takes exactly what its pieces take alone, the prior makes the sum zero, and nothing else does:
    it is the answer, whichever networks are drawn, and is read off without a rounding error.
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
    """The same by arrays, and without intervals: counts (N, T), latencies (N,), prior (T,) -> costs (T,), none
    negative."""
    return _solve(counts, latencies_ms, prior_ms, np.zeros(len(prior_ms)))


def _is_explained(networks: Sequence[WholeNetwork], prior_ms: Mapping[Term, float]) -> bool:
    """Whether every network takes the sum of its terms' priors, in exact arithmetic, and no thing's is negative."""
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
