"""The regression of measured / roofline for one kind of operator, with an interval and a range."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold
from sklearn.utils.validation import check_is_fitted

from latency.predictor.forest import Forest
from latency.predictor.kinds import KINDS, Array, OperatorKind
from latency.roofline import Peak

COVERAGE: Final = 0.9
_FOLDS: Final = 5
_JUDGING_TREES: Final = 32
_BEYOND: Final = (0.5, 0.7)  # shares of the work below which a forest is grown to be asked about the rest
_GROWTHS: Final = np.concatenate([[0.0], np.geomspace(0.02, 20.0, 40)])
_FEW: Final = 20
_REWEIGHTINGS: Final = 8
_LEAST_ERROR: Final = 0.02
_MANY: Final = 4_000


@dataclass(frozen=True)
class Judged:
    """How a regression did on shapes that took no part in a fit: rows, mean absolute relative error, and the share of
    rows within 10 %."""

    rows: int
    error: float
    within_10_percent: float

    @classmethod
    def by(cls, errors: Array) -> "Judged":
        """`errors` (N,) are log(measured / predicted)."""
        relative = np.abs(np.expm1(-errors))
        return cls(len(errors), float(relative.mean()), float((relative <= 0.1).mean()))


@dataclass(frozen=True)
class Expected:
    """overhead + times * roofline: what launching an operator takes, and how far from the peak it runs."""

    overhead_ms: float
    times: float

    @classmethod
    def fitted(cls, floor_ms: Array, took_ms: Array, least: float) -> "Expected":
        """Of the least mean relative error, by least squares that are weighted anew, the overhead not negative and at
        least `least` times the roofline: where every row was small enough for a cache, the roofline holds all the same
        for those that are not.

        `floor_ms` and `took_ms` are (N,).
        """
        terms = np.column_stack([np.ones(len(floor_ms)), floor_ms])
        rest_ms = took_ms - least * floor_ms
        weights = 1 / took_ms**2
        for _ in range(_REWEIGHTINGS):
            line = LinearRegression(positive=True, fit_intercept=False).fit(terms, rest_ms, sample_weight=weights)
            relative = np.abs(line.predict(terms) - rest_ms) / took_ms
            weights = 1 / took_ms**2 / np.maximum(relative, _LEAST_ERROR)
        overhead_ms, more = map(float, line.coef_)
        return cls(overhead_ms, least + more)

    def __call__(self, floor_ms: Array) -> Array:
        """(N,) -> (N,)"""
        expected_ms: Array = self.overhead_ms + self.times * floor_ms
        return expected_ms


class RatioRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts log(measured / expected), and so the latency, of operators of one kind on one device. What is expected
    is an overhead and a multiple of the roofline, the same for all.

    An estimator with scikit-learn's conventions: X (N, D) holds the kind's dimensions, y (N,) milliseconds. What the
    roofline explains need not be learned, and what is left stays within a factor of a few, whatever the size.

    The interval is conformal (Vovk et al., 2005; locally weighted as in Lei et al., 2018): errors on shapes that took
    no part in a fit, each relative to how far the trees disagree there. Beyond the rows it was fitted on it widens with
    the distance, as fast as forests that were grown on the smaller rows alone erred on the larger ones.
    """

    def __init__(
        self,
        kind: str,
        peak: Peak,
        trees: int = 100,
        fewest: int | None = None,
        random_state: int = 0,
    ) -> None:
        """`trees` of the forest; at least `fewest` rows in a leaf, by default as many as keep a large one small."""
        self.kind = kind
        self.peak = peak
        self.trees = trees
        self.fewest = fewest
        self.random_state = random_state

    def fit(self, X: Array, y: Array, groups: Array | None = None) -> "RatioRegressor":  # noqa: N803
        """Rows of one group are never on both sides of a judgement; equal shapes are one group if none are given.

        Raises `ValueError` for fewer than 20 rows.
        """
        dims, took_ms = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        if len(dims) < _FEW:
            raise ValueError(f"{len(dims)} rows of {self.kind} are too few to fit: it takes {_FEW}")
        self.n_features_in_ = dims.shape[1]
        examples = self._kind.features(dims, self.peak)
        self.expected_ = Expected.fitted(self._kind.roofline_ms(dims, self.peak), took_ms, self._kind.least)
        targets = np.log(took_ms / self._expected_ms(dims, self.peak))
        if groups is None:
            groups = self._kind.shapes(dims)
        centre, spread = np.empty(len(dims)), np.empty(len(dims))
        for fitted, judged in GroupKFold(_FOLDS, shuffle=True, random_state=self.random_state).split(
            dims, groups=groups
        ):
            centre[judged], spread[judged] = self._grown(examples[fitted], targets[fitted], _JUDGING_TREES)(
                examples[judged]
            )
        errors = targets - centre
        self.judged_ = Judged.by(errors)
        self.least_spread_ = float(np.median(np.abs(errors)))
        self.low_, self.high_ = _conformal(errors / self._scale(spread))
        reach = self._kind.reach(dims)
        self.nearest_, self.farthest_ = reach.min(axis=0), reach.max(axis=0)
        self.growth_ = self._growth(examples, targets, reach)
        self.forest_ = self._grown(examples, targets, self.trees)
        return self

    def judge_by(self, errors: Array) -> None:
        """Takes its interval and its figures from other errors, log(measured / predicted) (N,), than its folds'."""
        check_is_fitted(self, "forest_")
        self.judged_ = Judged.by(errors)
        self.least_spread_ = float(np.median(np.abs(errors)))
        self.low_, self.high_ = _conformal(errors / self.least_spread_)

    def predict(self, X: Array) -> Array:  # noqa: N803
        """(N, D) -> ms (N,)"""
        return self.predict_interval(X)[1]

    def predict_interval(self, X: Array) -> tuple[Array, Array, Array]:  # noqa: N803
        """(N, D) -> the lower bound, the prediction and the upper bound in ms, (N,) each; the bounds hold 90 %."""
        return self.on(self.peak, X)

    def on(self, peak: Peak, X: Array) -> tuple[Array, Array, Array]:  # noqa: N803
        """The same at other peak rates of the device, those of another dtype: launching takes as long, the rest goes in
        proportion."""
        check_is_fitted(self, "forest_")
        dims = np.asarray(X, dtype=float)
        centre, spread = self.forest_(self._kind.features(dims, self.peak))
        beyond = self._beyond(self._kind.reach(dims), self.nearest_, self.farthest_)
        scale = self._scale(spread)
        low, high = (centre + bound * scale * (1 + self.growth_ * beyond) for bound in (self.low_, self.high_))
        expected_ms = self._expected_ms(dims, peak)
        return expected_ms * np.exp(low), expected_ms * np.exp(centre), expected_ms * np.exp(high)

    def in_range(self, X: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:  # noqa: N803
        """(N, D) -> (N,): whether work and dimensions lie between those of the rows it was fitted on."""
        check_is_fitted(self, "forest_")
        inside: np.ndarray[Any, np.dtype[np.bool_]] = (
            self._beyond(self._kind.reach(np.asarray(X, dtype=float)), self.nearest_, self.farthest_) == 0
        )
        return inside

    @property
    def _kind(self) -> OperatorKind:
        return KINDS[self.kind]

    def _expected_ms(self, dims: Array, peak: Peak) -> Array:
        return self.expected_(self._kind.roofline_ms(dims, peak))

    def _grown(self, examples: Array, targets: Array, trees: int) -> Forest:
        fewest = self.fewest or (1 if len(targets) < _MANY else 2)
        return Forest.grown(examples, targets, trees=trees, fewest=fewest, seed=self.random_state)

    def _scale(self, spread: Array) -> Array:
        scale: Array = np.hypot(spread, self.least_spread_)
        return scale

    @staticmethod
    def _beyond(reach: Array, nearest: Array, farthest: Array) -> Array:
        """(N,): by how many doublings a row lies outside, in whatever it does so most."""
        outside = np.maximum(reach - farthest, nearest - reach).max(axis=1)
        return np.where(outside > 1e-9, outside, 0.0)

    def _growth(self, examples: Array, targets: Array, reach: Array) -> float:
        """How much wider the interval gets per doubling beyond the rows."""
        scores, beyond = [], []
        work = reach[:, 0]
        for share in _BEYOND:
            near = work <= np.quantile(work, share)
            if near.sum() < _FEW or (~near).sum() < _FEW:
                return 0.0
            centre, spread = self._grown(examples[near], targets[near], _JUDGING_TREES)(examples[~near])
            scores.append((targets[~near] - centre) / self._scale(spread))
            beyond.append(self._beyond(reach[~near], reach[near].min(axis=0), reach[near].max(axis=0)))
        score, far = np.concatenate(scores), np.concatenate(beyond)
        for growth in _GROWTHS:
            wider = 1 + growth * far
            if ((score >= self.low_ * wider) & (score <= self.high_ * wider)).mean() >= COVERAGE:
                return float(growth)
        return float(_GROWTHS[-1])

    def to_record(self) -> dict[str, Any]:
        """For JSON; `from_record` reads it back."""
        return {
            "trees": self.trees,
            "fewest": self.fewest,
            "random_state": self.random_state,
            "expected": asdict(self.expected_),
            "judged": asdict(self.judged_),
            "least_spread": self.least_spread_,
            "interval": [self.low_, self.high_],
            "growth": self.growth_,
            "nearest": self.nearest_.tolist(),
            "farthest": self.farthest_.tolist(),
            "forest": self.forest_.to_record(),
        }

    @classmethod
    def from_record(cls, kind: str, peak: Peak, record: Mapping[str, Any]) -> "RatioRegressor":
        """Raises `KeyError`, `TypeError` or `ValueError` for what is no regressor."""
        found = cls(kind, peak, record["trees"], record["fewest"], record["random_state"])
        found.n_features_in_ = len(KINDS[kind].dims)
        found.judged_ = Judged(**record["judged"])
        found.expected_ = Expected(**record["expected"])
        found.least_spread_ = float(record["least_spread"])
        found.low_, found.high_ = map(float, record["interval"])
        found.growth_ = float(record["growth"])
        found.nearest_, found.farthest_ = np.array(record["nearest"]), np.array(record["farthest"])
        found.forest_ = Forest.from_record(record["forest"])
        if found.forest_.features > KINDS[kind].features(np.ones((1, found.n_features_in_)), peak).shape[1]:
            raise ValueError(f"its trees ask about features that a {kind} does not have")
        return found


def _conformal(scores: Array) -> tuple[float, float]:
    """The bounds that a new score lies between in 9 of 10 cases, if it is drawn as these were."""
    n = len(scores)
    tail = (1 - COVERAGE) / 2
    ordered = np.sort(scores)
    low = ordered[max(0, int(np.floor((n + 1) * tail)) - 1)]
    high = ordered[min(n - 1, int(np.ceil((n + 1) * (1 - tail))) - 1)]
    return min(float(low), 0.0), max(float(high), 0.0)
