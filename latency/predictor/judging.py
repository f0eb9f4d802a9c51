"""Judges regressions on operators that they were not fitted to."""

from dataclasses import dataclass

import numpy as np

from latency.errors import PredictorError
from latency.predictor.described import device_in
from latency.predictor.expected import Judged
from latency.predictor.kinds import KINDS
from latency.predictor.operators import OperatorPredictor
from latency.predictor.regressor import RatioRegressor
from latency.predictor.rows import OperatorRows
from latency.predictor.tiles import Array
from pruner.progress import Progress, silent

Interval = tuple[Array, Array, Array]
"""Lower bounds, predictions and upper bounds in ms, (N,) each."""


@dataclass(frozen=True)
class Judgement(Judged):
    """How well a regression predicted, with the width of its intervals.

    Attributes:
        width: The median width of the intervals, relative to the prediction.
    """

    width: float

    @classmethod
    def of(cls, interval: Interval, took_ms: Array) -> "Judgement":
        """Judges N predictions by what the operators took, (N,) milliseconds."""
        low, predicted, high = interval
        judged = Judged.by(np.log(took_ms / predicted), (low <= took_ms) & (took_ms <= high))
        width = float(np.median((high - low) / predicted))
        return cls(judged.rows, judged.error, judged.within_10_percent, judged.covered, width)


def five_folds(
    rows: OperatorRows, device: str, *, dtype: str = "fp32", seed: int = 0, progress: Progress = silent
) -> dict[str, Judgement]:
    """Judges a regression of each kind of operator by five-fold cross-validation; no shape is in two folds.

    Args:
        rows: Timings of operators.
        device: The device, by a name that its description fits or as the rows name it.
        dtype: The dtype of the operators.
        seed: Seed of the folds and the trees.
        progress: Called before each kind is fitted.

    Returns:
        Kind of operator -> how it was predicted.

    Raises:
        PredictorError: when no rows are of the device in the dtype.
    """
    names, peak = device_in(rows, device, dtype)
    own = rows.of(names, dtype)
    found = {}
    for done, (kind, (numbers, dims)) in enumerate(sorted(own.by_kind.items())):
        progress(done, len(own.by_kind), f"{kind}, {len(dims)} rows")
        took_ms = own.latency_ms[numbers]
        fit = RatioRegressor(kind, peak, None, seed).fit(dims, took_ms, KINDS[kind].shapes(dims))
        found[kind] = Judgement.of(fit.folded_, took_ms[fit.believed_])
    return found


def judged(predictor: OperatorPredictor, rows: OperatorRows) -> dict[str, Judgement]:
    """Judges a predictor of operators by rows that were timed.

    Returns:
        Kind of operator -> how it was predicted.

    Raises:
        PredictorError: when the predictor predicts none of the rows.
    """
    said = predictor.predict(rows)
    found = {}
    for kind, (numbers, _) in sorted(rows.by_kind.items()):
        at = numbers[~np.isnan(said.predicted_ms[numbers])]
        if len(at):
            found[kind] = Judgement.of((said.low_ms[at], said.predicted_ms[at], said.high_ms[at]), rows.latency_ms[at])
    if not found:
        why = "; ".join(f"{count} are {reason}" for reason, count in predictor.refused(rows).items())
        whose = f"{predictor.device} in {predictor.dtype}"
        raise PredictorError(f"the predictor of {whose} predicts none of the rows of {rows.origin}: {why}")
    return found
