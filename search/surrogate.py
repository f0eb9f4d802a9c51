"""What is learned from the plans evaluated so far: what each cut costs, and what pairs of cuts cost together.

A Gaussian process over plans whose functions are quadratic: score = constant + the cuts' gains + the pairs' gains, each
gain with a normal prior (Bayesian linear regression; Rasmussen and Williams 2006, chapter 2; the quadratic model for
combinatorial search is BOCS, Baptista and Poloczek, ICML 2018). The cuts' gains are what the field calls single-block
scores, and the pairs' gains are the interactions.
"""

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np

from search.space import Array, Bits, Space

# Prior variances, next to a single cut's: chosen for each set of observations by their marginal likelihood.
_PAIR_VARIANCES: Final = (0.01, 0.03, 0.1, 0.3)
_NOISES: Final = (1e-6, 1e-4, 1e-2, 1e-1)
_OFFSET_VARIANCE: Final = 10.0
_KIND_VARIANCE: Final = 4.0
_JITTER: Final = 1e-9
# How large the features of plans that are predicted together may be; and how many plans their number is a multiple of,
# so that each stands where it stood had all been taken together, and is rounded alike.
_BLOCK_BYTES: Final = 1 << 26
_ALIGNED: Final = 64


@dataclass(frozen=True)
class Gains:
    """A quadratic function of plans: constant, (cuts,) and strictly upper triangular (cuts, cuts)."""

    constant: float
    single: Array
    pairs: Array

    def scores(self, vectors: Array) -> Array:
        """(plans,) for vectors (plans, cuts)."""
        both: Array = np.einsum("pi,ij,pj->p", vectors, self.pairs, vectors)
        return self.constant + vectors @ self.single + both


@dataclass(frozen=True)
class _Fit:
    """The posterior for one choice of scale and of prior variances, and the log likelihood of the scores under it."""

    values: "_Standardized"
    prior: Array
    noise: float
    cholesky: Array
    weights: Array
    variance: float
    likelihood: float


class Surrogate:
    """The posterior over `Gains`, given vectors (plans, cuts) and their scores (plans,).

    Shares of right answers add up better as log odds: where all scores lie between 0 and 1, both scales are tried, and
    the one under which they are likelier is taken. Gains are on that scale; `score_at` leads back from it.
    """

    def __init__(self, space: Space, vectors: Array, scores: Array) -> None:
        self._features = _Features(space)
        self._rows = self._features.of(vectors)
        scales = [_Standardized.of(scores, False)]
        if ((scores > 0) & (scores < 1)).all():
            scales.append(_Standardized.of(scores, True))
        fits = (
            self._fit(values, self._features.prior(pair_variance, near), noise)
            for values in scales
            for pair_variance, near, noise in itertools.product(_PAIR_VARIANCES, (True, False), _NOISES)
        )
        self._best = max(fits, key=lambda fit: fit.likelihood)

    def mean(self) -> Gains:
        """The most likely gains."""
        return self._gains(self._best.prior * (self._rows.T @ self._best.weights))

    def draw(self, random: np.random.Generator) -> Gains:
        """Gains drawn from the posterior (Matheron's rule: a draw from the prior, corrected by what it gets wrong)."""
        best = self._best
        spread = np.sqrt(best.variance)
        prior = random.normal(size=len(best.prior)) * np.sqrt(best.prior) * spread
        seen = self._rows @ prior + random.normal(size=len(self._rows)) * np.sqrt(best.noise) * spread
        wrong = best.values.values - seen
        return self._gains(prior + best.prior * (self._rows.T @ _solved(best.cholesky, wrong)))

    def predicted(self, gains: Gains, vectors: Bits) -> tuple[Array, Array]:
        """What gains say of vectors (plans, cuts), and the standard deviation of it, both (plans,) and on the scale of
        the gains.

        The features of many plans are large: they are made for so many plans at a time as take `_BLOCK_BYTES`.
        """
        count = max(1, _BLOCK_BYTES // (8 * self._features.size * _ALIGNED)) * _ALIGNED
        means, deviations = [], []
        for start in range(0, len(vectors), count):
            block = vectors[start : start + count].astype(np.float64)
            means.append(gains.scores(block))
            deviations.append(self.deviation(block))
        return np.concatenate(means), np.concatenate(deviations)

    def deviation(self, vectors: Array) -> Array:
        """(plans,) the standard deviation of what is predicted for vectors (plans, cuts), on the scale of the gains."""
        best = self._best
        rows = self._features.of(vectors)
        known = np.linalg.solve(best.cholesky, self._rows @ (rows * best.prior).T)
        left = (rows * rows) @ best.prior - (known * known).sum(axis=0)
        deviation: Array = best.values.spread * np.sqrt(best.variance * np.maximum(left, 0.0))
        return deviation

    def score_at(self, gained: float) -> float:
        """The score that this is on the scale of the gains."""
        return 1 / (1 + float(np.exp(-gained))) if self._best.values.is_log_odds else gained

    def _fit(self, values: "_Standardized", prior: Array, noise: float) -> _Fit:
        covariance = (self._rows * prior) @ self._rows.T
        size = float(np.trace(covariance)) / len(covariance)
        cholesky = np.linalg.cholesky(covariance / size + (noise + _JITTER) * np.eye(len(covariance)))
        weights = _solved(cholesky, values.values)
        # The overall variance that is most likely has a closed form.
        variance = max(float(values.values @ weights) / len(weights), _JITTER)
        likelihood = values.log_density - 0.5 * len(weights) * np.log(variance) - float(np.log(np.diag(cholesky)).sum())
        return _Fit(values, prior / size, noise, cholesky, weights, variance, likelihood)

    def _gains(self, coefficients: Array) -> Gains:
        constant, single, pairs = self._features.gains(coefficients)
        values = self._best.values
        return Gains(values.centre + values.spread * constant, values.spread * single, values.spread * pairs)


@dataclass(frozen=True)
class _Standardized:
    """Scores, or their log odds, at mean 0 and variance 1. `log_density` is what a change of scale does to likelihoods
    (the logarithm of its derivative, summed over the scores), so that those on two scales can be compared."""

    values: Array
    centre: float
    spread: float
    is_log_odds: bool
    log_density: float

    @classmethod
    def of(cls, scores: Array, is_log_odds: bool) -> "_Standardized":
        scaled = np.log(scores / (1 - scores)) if is_log_odds else scores
        centre, spread = float(scaled.mean()), float(scaled.std()) or 1.0
        slope = -np.log(scores * (1 - scores)).sum() if is_log_odds else 0.0
        return cls((scaled - centre) / spread, centre, spread, is_log_odds, float(slope) - len(scores) * np.log(spread))


def _solved(cholesky: Array, right: Array) -> Array:
    solved: Array = np.linalg.solve(cholesky.T, np.linalg.solve(cholesky, right))
    return solved


class _Features:
    """A plan as the products whose gains are learned: one, how many cuts of each kind, each cut, each pair of cuts."""

    def __init__(self, space: Space) -> None:
        self.count = len(space.cuts)
        kinds = sorted(set(space.kinds))
        self.members = np.array([[float(kind == own) for own in space.kinds] for kind in kinds])
        firsts, seconds = np.triu_indices(self.count, 1)
        apart = np.abs(space.places[firsts] - space.places[seconds])
        self.firsts, self.seconds = firsts[apart > 0], seconds[apart > 0]  # one block cannot be cut in two ways
        self.distances = apart[apart > 0].astype(float)

    @property
    def size(self) -> int:
        """How many features there are."""
        return 1 + len(self.members) + self.count + len(self.firsts)

    def of(self, vectors: Array) -> Array:
        """(plans, features)"""
        pairs = vectors[:, self.firsts] * vectors[:, self.seconds]
        return np.hstack([np.ones((len(vectors), 1)), vectors @ self.members.T, vectors, pairs])

    def prior(self, pair_variance: float, near: bool) -> Array:
        """(features,) variances. If `near`, the variance of a pair falls with the distance between its blocks."""
        shape = 1 / self.distances if near else np.full(len(self.distances), 3.0 / self.count)
        kinds = np.full(len(self.members), _KIND_VARIANCE)
        return np.concatenate([[_OFFSET_VARIANCE], kinds, np.ones(self.count), pair_variance * shape])

    def gains(self, coefficients: Array) -> tuple[float, Array, Array]:
        """(constant, single (cuts,), pairs (cuts, cuts))"""
        kinds = 1 + len(self.members)
        single = coefficients[kinds : kinds + self.count] + coefficients[1:kinds] @ self.members
        pairs = np.zeros((self.count, self.count))
        pairs[self.firsts, self.seconds] = coefficients[kinds + self.count :]
        return float(coefficients[0]), single, pairs
