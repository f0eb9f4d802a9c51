"""Predicts what operators of one kind take on one device, with a 90 % interval and a range."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GroupKFold
from sklearn.utils.validation import check_is_fitted

from latency.predictor.boosted import Boosted, Growth
from latency.predictor.conformal import ClassBounds
from latency.predictor.expected import Basis, Expected, Judged
from latency.predictor.kinds import KINDS, OperatorKind
from latency.predictor.reach import Reach
from latency.predictor.tiles import Array, Classes, Flags
from latency.roofline import Peak

WIDEST: Final = 8.0
"""The largest factor between a bound and its prediction: wider intervals would say nothing."""
OWN: Final = "timings of its own"
"""How a regression came about that was fitted to timings of its own device."""
_FOLDS: Final = 5
_BEYOND: Final = (0.5, 0.7)  # shares of the work below which trees are grown to be asked about the rest
_TRANSFERRED_WIDENING: Final = 0.1  # per doubling, of what no row of its own can tell
_FAR_COVERAGE: Final = 0.92  # of rows beyond some of the rows; what lies beyond them all is further yet
_GROWTHS: Final = np.concatenate([[0.0], np.geomspace(0.02, 20.0, 40)])
_FEW: Final = 20
_SHIFTS: Final = np.linspace(-0.08, 0.04, 25)
_SPREAD: Final = Growth(rounds=80, leaves=12, fewest=20, rate=0.06)
_LEAST_SHARE: Final = 0.1  # of the median error: a row that happened to be met tells little of how sure the next one is
_LEAST_ROUNDS: Final = 60
LARGE: Final = Growth(rounds=400, leaves=47, rate=0.06)
"""How trees for convolutions are grown."""
_PRODUCTS: Final = Growth(rounds=250, leaves=31, rate=0.1, times=2)
_SMALL: Final = Growth(rounds=200, leaves=24, rate=0.1)


class RatioRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts the latency of operators of one kind on one device.

    Trees predict log(measured / expected). The expected latency is an overhead plus a multiple of the roofline, the
    same two numbers for all operators of the kind. What the roofline explains need not be learned, and the rest stays
    within a factor of a few at every size. An estimator with scikit-learn's conventions: X (N, D) holds the kind's
    dimensions, y (N,) milliseconds.

    The interval is conformal, class by class. It comes from errors on shapes that took no part in a fit, each relative
    to the size that other trees expect such an error to have (locally weighted, Lei et al., 2018). Outside the range of
    the fitted rows it widens with the distance, as fast as trees that were grown on the smaller rows erred on the
    larger ones. No prediction is quicker than algorithms and caches allow.
    """

    def __init__(self, kind: str, peak: Peak, growth: Growth | None = None, random_state: int = 0) -> None:
        """Stores the parameters.

        Args:
            kind: The kind of operator, one of `KINDS`.
            peak: The device's peak rates.
            growth: How the trees are grown; by default, what is enough for the kind.
            random_state: Seed of the folds and the trees.
        """
        self.kind = kind
        self.peak = peak
        self.growth = growth
        self.random_state = random_state

    def fit(self, X: Array, y: Array, groups: Array | None = None) -> "RatioRegressor":  # noqa: N803
        """Fits the trees, and judges them by five-fold cross-validation.

        Rows that are quicker than any algorithm could be are left out. `unbelievable_` is their number, and `believed_`
        (N,) tells which rows were kept. `folded_` holds the lower bounds, predictions and upper bounds in milliseconds
        of the rows that were kept, by fits that did not see their group.

        Args:
            X: (N, D), the dimensions of the operators.
            y: (N,), their measured latencies in milliseconds.
            groups: (N,), the group of each row; no group is in two folds. By default, equal shapes are one group.

        Raises:
            ValueError: when there are fewer than 20 rows.
        """
        dims, took_ms = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        if len(dims) < _FEW:
            raise ValueError(f"{len(dims)} rows of {self.kind} are too few to fit: it takes {_FEW}")
        groups = self._kind.shapes(dims) if groups is None else np.asarray(groups)
        true = took_ms >= self._kind.certain_ms(dims, self.peak)
        self.unbelievable_ = int((~true).sum())
        dims, took_ms, groups = dims[true], took_ms[true], groups[true]
        self.n_features_in_ = dims.shape[1]
        self.growth_ = self.growth or _usual(self.kind, len(dims))
        self.expected_ = Expected.fitted(self._kind.roofline_ms(dims, self.peak), took_ms, self._kind.least)
        targets = np.log(took_ms / self.expected_(self._kind.roofline_ms(dims, self.peak)))
        examples, classes = self._kind.features(dims, self.peak), self._kind.classes(dims)
        folds = list(GroupKFold(_FOLDS, shuffle=True, random_state=self.random_state).split(dims, groups=groups))
        errors = targets - self._across(folds, examples, targets, self.growth_)
        shift = _shift(errors)
        errors = errors - shift
        sizes = np.log(np.abs(errors) + _LEAST_SHARE * np.median(np.abs(errors)) + 1e-6)
        usual = np.exp(self._across(folds, examples, sizes, _SPREAD))
        self.bounds_ = ClassBounds.fitted(errors / usual, groups, classes)
        low, high = _others_bounds(folds, errors / usual, groups, classes)
        inside = (low * usual <= errors) & (errors <= high * usual)
        said_ms = took_ms / np.exp(errors)
        self.folded_ = said_ms * np.exp(low * usual), said_ms, said_ms * np.exp(high * usual)
        self.believed_ = true
        self.judged_, self.judged_of_class_ = Judged.by(errors, inside), _by_class(errors, inside, classes)
        self.basis_ = Basis(OWN, f"{_FOLDS} folds, no shape in two of them", "")
        self.spread_ = Boosted.grown(examples, sizes, _SPREAD, self.random_state)
        reach = self._kind.reach(dims)
        self.reach_ = Reach.fitted(reach, classes)
        self.widening_ = self._widening(examples, targets - shift, reach, classes)
        self.trees_ = Boosted.grown(examples, targets, self.growth_, self.random_state).raised(shift)
        return self

    def made_of(
        self,
        expected: Expected,
        trees: Boosted,
        reach: Reach,
        errors: Array,
        shapes: Array,
        classes: Classes,
        basis: Basis,
    ) -> "RatioRegressor":
        """Takes trees that were grown on other devices, in place of `fit`.

        Args:
            expected: The expected latency.
            trees: Trees that predict log(measured / expected).
            reach: The range of the rows that they were grown on.
            errors: (N,), log(measured / predicted), which the interval is taken from.
            shapes: (N,), the number of the shape that each error belongs to.
            classes: (N,), the class that each error belongs to.
            basis: What the regression rests on.

        Returns:
            This regressor.
        """
        self.n_features_in_ = len(self._kind.dims)
        self.growth_ = self.growth or LARGE
        self.expected_, self.trees_, self.reach_, self.basis_ = expected, trees, reach, basis
        self.widening_, self.unbelievable_ = _TRANSFERRED_WIDENING, 0
        self.judge_by(errors, shapes, classes)
        return self

    def judge_by(self, errors: Array, groups: Array, classes: Classes) -> None:
        """Replaces the interval and the judgement by those that come from other errors.

        Args:
            errors: (N,), log(measured / predicted).
            groups: (N,), the number of the shape that each error belongs to.
            classes: (N,), the class that each error belongs to.
        """
        check_is_fitted(self, "trees_")
        self.spread_ = Boosted.constant(0.0)
        self.bounds_ = ClassBounds.fitted(errors, groups, classes)
        # Every second one by the bounds of the others: what bounds were taken from lies within them.
        judged = np.arange(len(errors)) % 2 == 0
        low, high = _others_bounds([(~judged, judged), (judged, ~judged)], errors, groups, classes)
        inside = (low <= errors) & (errors <= high)
        self.judged_, self.judged_of_class_ = Judged.by(errors, inside), _by_class(errors, inside, classes)

    def predict(self, X: Array) -> Array:  # noqa: N803
        """Returns the predicted milliseconds (N,) of operators (N, D)."""
        return self.predict_interval(X)[1]

    def predict_interval(self, X: Array) -> tuple[Array, Array, Array]:  # noqa: N803
        """Returns the lower bounds, predictions and upper bounds of operators (N, D), in milliseconds, (N,) each.

        The bounds are those of 90 % intervals.
        """
        return self.on(self.peak, X)

    def on(self, peak: Peak, X: Array) -> tuple[Array, Array, Array]:  # noqa: N803
        """Returns what `predict_interval` does, at other peak rates of the device.

        The rates of another dtype predict that dtype: launching takes as long, and the rest scales with the roofline.

        Args:
            peak: The peak rates.
            X: (N, D), the dimensions of the operators.
        """
        check_is_fitted(self, "trees_")
        dims = np.asarray(X, dtype=float)
        examples, classes = self._kind.features(dims, self.peak), self._kind.classes(dims)
        low, high = self.bounds_.at(classes)
        wide = np.exp(self.spread_(examples)) * (1 + self.widening_ * self._beyond(dims))
        furthest = np.log(WIDEST)
        expected_ms = self.expected_(self._kind.roofline_ms(dims, peak))
        said_ms = np.maximum(expected_ms * np.exp(self.trees_(examples)), self._kind.certain_ms(dims, peak))
        low_ms = said_ms * np.exp(np.maximum(low * wide, -furthest))
        high_ms = said_ms * np.exp(np.minimum(high * wide, furthest))
        return np.maximum(low_ms, self._kind.certain_ms(dims, peak)), said_ms, high_ms

    def in_range(self, X: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:  # noqa: N803
        """Returns whether work and dimensions of operators lie in the range of their class's fitted rows.

        (N, D) -> (N,).
        """
        check_is_fitted(self, "trees_")
        inside: np.ndarray[Any, np.dtype[np.bool_]] = self._beyond(np.asarray(X, dtype=float)) == 0
        return inside

    @property
    def _kind(self) -> OperatorKind:
        return KINDS[self.kind]

    def _beyond(self, dims: Array) -> Array:
        return self.reach_.beyond(self._kind.reach(dims), self._kind.classes(dims))

    def _across(self, folds: Any, examples: Array, targets: Array, growth: Growth) -> Array:
        """(N,): what trees that saw no row of its group predict for each row."""
        said = np.empty(len(targets))
        for fitted, judged in folds:
            grown = Boosted.grown(examples[fitted], targets[fitted], growth, self.random_state)
            said[judged] = grown(examples[judged])
        return said

    def _widening(self, examples: Array, targets: Array, reach: Array, classes: Classes) -> float:
        """How much wider the interval gets per doubling outside the range of the rows."""
        scores: list[Array] = []
        beyond: list[Array] = []
        low: list[Array] = []
        high: list[Array] = []
        work = reach[:, 0]
        fewer = replace(self.growth_, rounds=max(1, self.growth_.rounds // 2), times=1)
        for share in _BEYOND:
            near = work <= np.quantile(work, share)
            if near.sum() < _FEW or (~near).sum() < _FEW:
                return 0.0
            grown = Boosted.grown(examples[near], targets[near], fewer, self.random_state)
            scores.append((targets[~near] - grown(examples[~near])) / np.exp(self.spread_(examples[~near])))
            beyond.append(Reach.fitted(reach[near], classes[near]).beyond(reach[~near], classes[~near]))
            for bounds, of_row in zip((low, high), self.bounds_.at(classes[~near]), strict=True):
                bounds.append(of_row)
        score, far, lows, highs = map(np.concatenate, (scores, beyond, low, high))
        for growth in _GROWTHS:
            wider = 1 + growth * far
            if ((score >= lows * wider) & (score <= highs * wider)).mean() >= _FAR_COVERAGE:
                return float(growth)
        return float(_GROWTHS[-1])

    def to_record(self) -> dict[str, Any]:
        """Returns the fitted regressor as plain data for JSON; `from_record` reads it."""
        return {
            "growth": asdict(self.growth_),
            "random_state": self.random_state,
            "peak": asdict(self.peak),
            "expected": asdict(self.expected_),
            "judged": asdict(self.judged_),
            "judged_of_class": {name: asdict(judged) for name, judged in self.judged_of_class_.items()},
            "basis": asdict(self.basis_),
            "unbelievable": self.unbelievable_,
            "bounds": self.bounds_.to_record(),
            "widening": self.widening_,
            "reach": self.reach_.to_record(),
            "spread": self.spread_.to_record(),
            "trees": self.trees_.to_record(),
        }

    @classmethod
    def from_record(cls, kind: str, record: Mapping[str, Any]) -> "RatioRegressor":
        """Reads what `to_record` returned. Raises `KeyError`, `TypeError` or `ValueError` if it holds no regressor."""
        growth = Growth(**record["growth"])
        found = cls(kind, Peak(**record["peak"]), growth, record["random_state"])
        found.n_features_in_, found.growth_ = len(KINDS[kind].dims), growth
        found.judged_ = Judged(**record["judged"])
        found.judged_of_class_ = {name: Judged(**judged) for name, judged in record["judged_of_class"].items()}
        found.basis_ = Basis(**record["basis"])
        found.expected_ = Expected(**record["expected"])
        found.unbelievable_ = int(record["unbelievable"])
        found.bounds_ = ClassBounds.from_record(record["bounds"])
        found.widening_ = float(record["widening"])
        found.reach_ = Reach.from_record(record["reach"])
        found.spread_, found.trees_ = (Boosted.from_record(record[name]) for name in ("spread", "trees"))
        features = KINDS[kind].features(np.ones((1, found.n_features_in_)), found.peak).shape[1]
        if max(found.spread_.features, found.trees_.features) > features:
            raise ValueError(f"its trees ask about features that a {kind} does not have")
        return found


def _others_bounds(folds: Any, scores: Array, groups: Array, classes: Classes) -> tuple[Array, Array]:
    """The low and the high bound of each score, (N,), that come from the other folds' scores alone."""
    low, high = np.empty(len(scores)), np.empty(len(scores))
    for fitted, judged in folds:
        bounds = ClassBounds.fitted(scores[fitted], groups[fitted], classes[fitted])
        low[judged], high[judged] = bounds.at(classes[judged])
    return low, high


def _by_class(errors: Array, inside: Flags, classes: Classes) -> dict[str, Judged]:
    return {name: Judged.by(errors[classes == name], inside[classes == name]) for name in np.unique(classes).tolist()}


def _usual(kind: str, rows: int) -> Growth:
    """How trees are grown by default: large enough for the kind, with leaves that suit the number of rows."""
    usual = {"conv": LARGE, "linear": _PRODUCTS, "bmm": _PRODUCTS}.get(kind, _SMALL)
    rounds = min(usual.rounds, max(_LEAST_ROUNDS, rows // 3))
    return replace(usual, rounds=rounds, fewest=int(np.clip(rows // 200, 2, usual.fewest)))


def _shift(errors: Array) -> float:
    """What to add to all predicted logarithms for the least mean relative error, in which short times weigh most."""
    relative = [float(np.abs(np.expm1(shift - errors)).mean()) for shift in _SHIFTS]
    return float(_SHIFTS[int(np.argmin(relative))])
