"""Operators in a dtype of which nothing was published, from the same device's timings in fp32."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from latency.predictor.expected import Basis, Judged
from latency.predictor.kinds import KINDS
from latency.predictor.regressor import WIDEST, RatioRegressor
from latency.predictor.tiles import Array
from latency.roofline import Peak

SCALED: Final = "scaled from fp32"


@dataclass(frozen=True, eq=False)
class ScaledRegressor:
    """A regression of fp32 at the peak rates of another dtype: launching takes as long, the rest goes in proportion.

    `low` and `high` are the logarithms that nine in ten errors of such a scaling lie between, (measured / scaled); they
    widen fp32's own bounds. Nothing that is scaled lies in the range of what was fitted.
    """

    fitted: RatioRegressor
    peak: Peak
    low: float
    high: float
    judged_: Judged
    basis_: Basis

    def predict(self, X: Array) -> Array:  # noqa: N803
        """(N, D) -> ms (N,)"""
        return self.predict_interval(X)[1]

    def predict_interval(self, X: Array) -> tuple[Array, Array, Array]:  # noqa: N803
        """(N, D) -> the lower bound, the prediction and the upper bound in ms, (N,) each. The two errors, fp32's and
        the scaling's, have nothing to do with each other, so that their squares add up."""
        low_ms, said_ms, high_ms = self.fitted.on(self.peak, X)
        low = -np.hypot(np.log(low_ms / said_ms), self.low)
        high = np.hypot(np.log(high_ms / said_ms), self.high)
        low_ms = said_ms * np.exp(np.maximum(low, -np.log(WIDEST)))
        high_ms = said_ms * np.exp(np.minimum(high, np.log(WIDEST)))
        dims = np.asarray(X, dtype=float)
        return np.maximum(low_ms, KINDS[self.fitted.kind].certain_ms(dims, self.peak)), said_ms, high_ms

    def in_range(self, X: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:  # noqa: N803
        """(N, D) -> (N,): never."""
        return np.zeros(len(X), dtype=bool)

    def to_record(self) -> dict[str, Any]:
        """For JSON; `from_record` reads it back."""
        return {
            "scaled": self.fitted.to_record(),
            "peak": asdict(self.peak),
            "interval": [self.low, self.high],
            "judged": asdict(self.judged_),
            "basis": asdict(self.basis_),
        }

    @classmethod
    def from_record(cls, kind: str, record: Mapping[str, Any]) -> "ScaledRegressor":
        """Raises `KeyError`, `TypeError` or `ValueError` for what is none."""
        fitted = RatioRegressor.from_record(kind, record["scaled"])
        low, high = map(float, record["interval"])
        if not low <= 0 <= high:
            raise ValueError(f"the bounds {low} to {high} hold no prediction")
        return cls(fitted, Peak(**record["peak"]), low, high, Judged(**record["judged"]), Basis(**record["basis"]))
