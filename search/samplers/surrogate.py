"""What is learned from the plans evaluated so far: the gain of each cut, and that of each pair of cuts.

The model is a Gaussian process over plans whose functions are quadratic: score = constant + the cuts' gains + the
pairs' gains, each gain with a normal prior (Bayesian linear regression; Rasmussen and Williams 2006, chapter 2; the
quadratic model for combinatorial search is BOCS, Baptista and Poloczek, ICML 2018). The cuts' gains are what the field
calls single-block scores, and the pairs' gains are the interactions.

There are as many gains as pairs of cuts, but what is learned of them lies in the span of the plans that were seen:
all is computed from how alike plans are (`alike.py`), and no list of pairs is ever made.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from search.samplers.alike import Alike, Weights
from search.space import Array, Bits, Space

# Prior variances, relative to a single cut's: chosen for each set of observations by their marginal likelihood.
_PAIR_VARIANCES: Final = (0.01, 0.03, 0.1, 0.3)
_NOISES: Final = (1e-6, 1e-4, 1e-2, 1e-1)
# The part of a gain that the cuts of one block have in common, where it can be cut in several ways.
_COMMON: Final = (0.0, 0.3, 0.6, 0.9)
_JITTER: Final = 1e-9
# By how many of the plans these are chosen, spread evenly over the history: with all of them each choice would take as
# long as the fit itself.
_CHOSEN_BY: Final = 256
# How large what is held of plans that are predicted together may be; and how many plans their number is a multiple of,
# so that each stands where it stood had all been taken together, and is rounded alike.
_BLOCK_BYTES: Final = 1 << 26
_ALIGNED: Final = 64


@dataclass(frozen=True)
class Gains:
    """A quadratic function of plans: a constant, the gains of cuts and the gains of pairs of cuts.

    Attributes:
        constant: The value of the uncut network.
        single: (cuts,)
        pairs: (cuts, cuts), strictly upper triangular.
    """

    constant: float
    single: Array
    pairs: Array

    @cached_property
    def both_ways(self) -> Array:
        """(cuts + 1, cuts + 1) what two cuts gain together, whichever is named first; the last row and column stand
        for no cut."""
        both: Array = np.pad(self.pairs + self.pairs.T, (0, 1))
        return both

    def scores(self, vectors: Array) -> Array:
        """(plans,) the values of vectors (plans, cuts)."""
        both: Array = ((vectors @ self.pairs) * vectors).sum(axis=1)
        return self.constant + vectors @ self.single + both


@dataclass(frozen=True)
class _Choice:
    """A scale and prior variances, with the likelihood of the scores under them."""

    likelihood: float
    scale: str
    weights: Weights
    noise: float


@dataclass(frozen=True)
class _Fit:
    """The posterior. `size` is the mean diagonal of the covariance of the plans that were seen, `cholesky` is the
    Cholesky factor of that covariance divided by `size`, `weights` are its solution for the scores, and `variance`
    is the overall one."""

    values: "_Standardized"
    size: float
    cholesky: Array
    weights: Array
    variance: float


class Surrogate:
    """The posterior of `Gains` after some plans were scored.

    Shares of right answers add up better as log odds, and exp(-distance) as its logarithm. So where all scores lie
    between 0 and 1, these scales are tried too, and the one under which the scores are likeliest is taken. Gains are on
    that scale; `score_at` leads back from it.

    Args:
        space: The space of the plans.
        vectors: (plans, cuts) the plans.
        scores: (plans,) their scores.
    """

    def __init__(self, space: Space, vectors: Array, scores: Array) -> None:
        self._alike, self._vectors = Alike(space), vectors
        some = np.unique(np.linspace(0, len(scores) - 1, _CHOSEN_BY).round().astype(int))
        are_shares = bool(((scores > 0) & (scores < 1)).all())
        self._choice = self._chosen(vectors[some], scores[some], tuple(_SCALES) if are_shares else ("as it is",))
        covariance = self._alike.shared(vectors, vectors).covariance(self._choice.weights)
        self._fit = _fitted(_Standardized.of(scores, self._choice.scale), covariance, self._choice.noise)

    def mean(self) -> Gains:
        """The most likely gains."""
        return self._gains(*self._alike.gains(self._choice.weights, self._vectors, self._fit.weights / self._fit.size))

    def draw(self, random: np.random.Generator) -> Gains:
        """Gains drawn from the posterior, by Matheron's rule: a draw from the prior, corrected by its errors at the
        plans that were scored."""
        fit, weights = self._fit, self._choice.weights
        spread = np.sqrt(fit.variance / fit.size)
        prior = Gains(*(spread * part for part in self._alike.drawn(weights, random)))
        noise = np.sqrt(self._choice.noise * fit.variance) * random.normal(size=len(self._vectors))
        wrong = fit.values.values - prior.scores(self._vectors) - noise
        right = self._alike.gains(weights, self._vectors, _solved(fit.cholesky, wrong) / fit.size)
        return self._gains(prior.constant + right[0], prior.single + right[1], prior.pairs + right[2])

    def predicted(self, gains: Gains, vectors: Bits, around: Array | None = None) -> tuple[Array, Array]:
        """The predicted scores of plans and their standard deviations, both (plans,) and on the scale of the gains.

        Args:
            gains: What predicts the scores.
            vectors: (plans, cuts) the plans; as many are taken at a time as `_BLOCK_BYTES` allow.
            around: (centres, cuts) plans such that each of `vectors` differs from one of them in at most two blocks,
                which makes it faster; None where there are none.
        """
        one = 8 * len(self._vectors) * self._alike.sites
        count = max(1, _BLOCK_BYTES // (one * _ALIGNED)) * _ALIGNED
        means, deviations = [], []
        for start in range(0, len(vectors), count):
            block = vectors[start : start + count].astype(np.float64)
            means.append(gains.scores(block))
            deviations.append(self.deviation(block, around))
        return np.concatenate(means), np.concatenate(deviations)

    def deviation(self, vectors: Array, around: Array | None = None) -> Array:
        """(plans,) the standard deviation of the predicted scores of vectors (plans, cuts), on the scale of the
        gains."""
        fit, weights = self._fit, self._choice.weights
        shared = self._alike.shared(self._vectors, vectors, around).covariance(weights)
        known = solve_triangular(fit.cholesky, shared / fit.size, lower=True, check_finite=False)
        left = self._alike.variances(weights, vectors) / fit.size - (known * known).sum(axis=0)
        deviation: Array = fit.values.spread * np.sqrt(fit.variance * np.maximum(left, 0.0))
        return deviation

    def score_at(self, gained: float) -> float:
        """The score that a value on the scale of the gains stands for."""
        return float(_SCALES[self._choice.scale].back(gained))

    def _chosen(self, vectors: Array, scores: Array, scales: Sequence[str]) -> _Choice:
        """The scale and the prior variances under which these scores are likeliest."""
        shared = self._alike.shared(vectors, vectors)
        on_scales = [_Standardized.of(scores, scale) for scale in scales]
        choices = []
        parts = _COMMON if self._alike.has_grades else (0.0,)
        ways = itertools.product(_PAIR_VARIANCES, (True, False), parts)
        for weights in (Weights(*way) for way in ways):
            covariance = shared.covariance(weights)
            for noise in _NOISES:
                likelihoods = _likelihoods(on_scales, _factored(covariance, noise)[1])
                choices += [_Choice(*one, weights, noise) for one in zip(likelihoods, scales, strict=True)]
        return max(choices, key=lambda choice: choice.likelihood)

    def _gains(self, constant: float, single: Array, pairs: Array) -> Gains:
        values = self._fit.values
        return Gains(values.centre + values.spread * constant, values.spread * single, values.spread * pairs)


def _factored(covariance: Array, noise: float) -> tuple[float, Array]:
    """The mean of a covariance's diagonal, and the Cholesky factor of the covariance divided by that mean, with
    noise."""
    size = float(np.trace(covariance)) / len(covariance)
    nearly: Array = covariance / size + (noise + _JITTER) * np.eye(len(covariance))
    return size, np.linalg.cholesky(nearly).astype(np.float64, copy=False)


def _fitted(values: "_Standardized", covariance: Array, noise: float) -> _Fit:
    size, cholesky = _factored(covariance, noise)
    weights = _solved(cholesky, values.values)
    return _Fit(values, size, cholesky, weights, float(_likeliest_variance(values.values @ weights, len(weights))))


def _likelihoods(on_scales: Sequence["_Standardized"], cholesky: Array) -> Array:
    """(scales,) the logarithms of the likelihoods of the same scores on several scales, from one factorization."""
    known = solve_triangular(cholesky, np.stack([one.values for one in on_scales], 1), lower=True, check_finite=False)
    count = len(known)
    variances = _likeliest_variance((known * known).sum(axis=0), count)
    densities = np.array([one.log_density for one in on_scales])
    found: Array = densities - 0.5 * count * np.log(variances) - np.log(np.diag(cholesky)).sum()
    return found


def _likeliest_variance(squares: Array, count: int) -> Array:
    """The overall variance that is most likely, which has a closed form; `squares` is the sum of the scores' squares
    in units of their covariance."""
    return np.maximum(squares / count, _JITTER)


@dataclass(frozen=True)
class _Scale:
    """A scale of scores: the map to it, the slope of that map, and the map back."""

    to: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    back: Callable[[float], float]


_SCALES: Final = {
    "as it is": _Scale(lambda scores: scores, np.ones_like, lambda gained: gained),
    "log odds": _Scale(
        lambda scores: np.log(scores / (1 - scores)),
        lambda scores: 1 / (scores * (1 - scores)),
        lambda gained: 1 / (1 + np.exp(-gained)),
    ),
    "logarithm": _Scale(np.log, lambda scores: 1 / scores, np.exp),
}


@dataclass(frozen=True)
class _Standardized:
    """Scores on a scale, with mean 0 and variance 1. `log_density` is the logarithm of the scale's derivative,
    summed over the scores, by which likelihoods on two scales can be compared."""

    values: Array
    centre: float
    spread: float
    log_density: float

    @classmethod
    def of(cls, scores: Array, scale: str) -> "_Standardized":
        scaled = _SCALES[scale].to(scores)
        centre, spread = float(scaled.mean()), float(scaled.std()) or 1.0
        slopes = float(np.log(_SCALES[scale].slope(scores)).sum())
        return cls((scaled - centre) / spread, centre, spread, slopes - len(scores) * np.log(spread))


def _solved(cholesky: Array, right: Array) -> Array:
    solved: Array = cho_solve((cholesky, True), right, check_finite=False)
    return solved
