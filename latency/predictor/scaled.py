"""Predicts operators in a dtype without published timings, from the same device's timings in fp32."""

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
"""How a regression came about that was scaled from one in fp32."""


@dataclass(frozen=True, eq=False)
class ScaledRegressor:
    """Predicts operators of one kind by a regression in fp32, at the peak rates of another dtype.

    Launching takes as long as in fp32, and the rest scales with the roofline.

    Attributes:
        fitted: The regression in fp32.
        peak: The device's peak rates in the other dtype.
        low: The lower bound of log(measured / scaled) in nine of ten scalings; it widens the interval of fp32.
        high: The upper bound, likewise.
        judged_: How such scalings were judged.
        basis_: What the regression rests on.
    """

    fitted: RatioRegressor
    peak: Peak
    low: float
    high: float
    judged_: Judged
    basis_: Basis

    def predict(self, X: Array) -> Array:  # noqa: N803
        """Returns the predicted milliseconds (N,) of operators (N, D)."""
        return self.predict_interval(X)[1]

    def predict_interval(self, X: Array) -> tuple[Array, Array, Array]:  # noqa: N803
        """Returns the lower bounds, predictions and upper bounds of operators (N, D), in milliseconds, (N,) each.

        The errors of fp32 and of the scaling are taken to be independent, so their squares add up.
        """
        low_ms, said_ms, high_ms = self.fitted.on(self.peak, X)
        low = -np.hypot(np.log(low_ms / said_ms), self.low)
        high = np.hypot(np.log(high_ms / said_ms), self.high)
        low_ms = said_ms * np.exp(np.maximum(low, -np.log(WIDEST)))
        high_ms = said_ms * np.exp(np.minimum(high, np.log(WIDEST)))
        dims = np.asarray(X, dtype=float)
        return np.maximum(low_ms, KINDS[self.fitted.kind].certain_ms(dims, self.peak)), said_ms, high_ms

    def in_range(self, X: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:  # noqa: N803
        """Returns that no operator is in range: (N, D) -> (N,)."""
        return np.zeros(len(X), dtype=bool)

    def to_record(self) -> dict[str, Any]:
        """Returns the regressor as plain data for JSON; `from_record` reads it."""
        return {
            "scaled": self.fitted.to_record(),
            "peak": asdict(self.peak),
            "interval": [self.low, self.high],
            "judged": asdict(self.judged_),
            "basis": asdict(self.basis_),
        }

    @classmethod
    def from_record(cls, kind: str, record: Mapping[str, Any]) -> "ScaledRegressor":
        """Reads what `to_record` returned. Raises `KeyError`, `TypeError` or `ValueError` if it holds no regressor."""
        fitted = RatioRegressor.from_record(kind, record["scaled"])
        low, high = map(float, record["interval"])
        if not low <= 0 <= high:
            raise ValueError(f"the bounds {low} to {high} hold no prediction")
        return cls(fitted, Peak(**record["peak"]), low, high, Judged(**record["judged"]), Basis(**record["basis"]))
