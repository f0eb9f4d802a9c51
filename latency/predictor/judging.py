"""How good a regression is on what it was not fitted on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from sklearn.model_selection import GroupKFold

from latency.predictor.kinds import KINDS, Array
from latency.predictor.operators import OperatorPredictor, PredictorError, device_in
from latency.predictor.regressor import Judged, RatioRegressor
from latency.predictor.rows import OperatorRows
from pruner.progress import Progress, silent

_FOLDS: Final = 5

Interval = tuple[Array, Array, Array]
"""Lower bounds, predictions and upper bounds in ms, (N,) each."""


@dataclass(frozen=True)
class Judgement(Judged):
    """And the share of the rows inside their 90 % intervals, and the intervals' median width relative to the
    prediction."""

    covered: float
    width: float

    @classmethod
    def of(cls, interval: Interval, took_ms: Array) -> "Judgement":
        low, predicted, high = interval
        judged = Judged.by(np.log(took_ms / predicted))
        covered = float(((low <= took_ms) & (took_ms <= high)).mean())
        width = float(np.median((high - low) / predicted))
        return cls(judged.rows, judged.error, judged.within_10_percent, covered, width)


def cross_validated(
    make: Callable[[], RatioRegressor], dims: Array, took_ms: Array, groups: Array, seed: int = 0
) -> Interval:
    """Each row as predicted by a regression that saw no row of its group: `dims` (N, D), the others (N,)."""
    low, predicted, high = (np.empty(len(dims)) for _ in range(3))
    for fitted, judged in GroupKFold(_FOLDS, shuffle=True, random_state=seed).split(dims, groups=groups):
        regression = make().fit(dims[fitted], took_ms[fitted], groups[fitted])
        low[judged], predicted[judged], high[judged] = regression.predict_interval(dims[judged])
    return low, predicted, high


def five_folds(rows: OperatorRows, device: str, *, seed: int = 0, progress: Progress = silent) -> dict[str, Judgement]:
    """By kind, how a device's rows are predicted by fits that did not see their shapes.

    Raises `PredictorError` when no rows are the device's.
    """
    names, peak = device_in(rows, device)
    own = rows.of(names)
    found = {}
    for done, (kind, (numbers, dims)) in enumerate(sorted(own.by_kind.items())):
        progress(done, len(own.by_kind), f"{kind}, {len(dims)} rows")
        took_ms = own.latency_ms[numbers]
        interval = cross_validated(partial(RatioRegressor, kind, peak), dims, took_ms, KINDS[kind].shapes(dims), seed)
        found[kind] = Judgement.of(interval, took_ms)
    return found


def judged(predictor: OperatorPredictor, rows: OperatorRows) -> dict[str, Judgement]:
    """By kind, a predictor against rows that are timed. Raises `PredictorError` when it predicts none of them."""
    said = predictor.predict(rows)
    found = {}
    for kind, (numbers, _) in sorted(rows.by_kind.items()):
        at = numbers[~np.isnan(said.predicted_ms[numbers])]
        if len(at):
            found[kind] = Judgement.of((said.low_ms[at], said.predicted_ms[at], said.high_ms[at]), rows.latency_ms[at])
    if not found:
        raise PredictorError(f"the predictor of {predictor.device} predicts none of the rows of {rows.origin}")
    return found
