"""What operators take on devices that are not here, by predictors that were fitted to published timings of them."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

import profiles
from latency.predictor.described import peak_described
from latency.predictor.listen import Operator
from latency.predictor.operators import OperatorPredictor
from profiles.descriptions import load_description

PREDICTORS: Final = Path(profiles.__file__).parent / "predictors"
Bounds = tuple[float, float, float]
"""A lower bound, a cost and an upper bound, in ms."""


class PublishedCosts:
    """What the kernels of pieces take on a device that is described, in a dtype."""

    def __init__(self, device: str, dtype: str = "fp32") -> None:
        """Raises `PredictorError` for a dtype that the device has no rate for."""
        self.predictor = published_predictor(device, dtype)

    def bounds(self, pieces: Sequence[Sequence[Operator]]) -> list[Bounds]:
        """(lower bound, prediction, upper bound) in ms of each piece, given as its operators. Errors of operators of
        one kind go together, so that their bounds add up."""
        each = [(number, operator) for number, piece in enumerate(pieces) for operator in piece]
        totals = np.zeros((3, len(pieces)))
        for kind in sorted({operator.kind for _, operator in each}):
            numbers = np.array([number for number, operator in each if operator.kind == kind])
            dims = np.array([operator.dims for _, operator in each if operator.kind == kind], dtype=float)
            for total, bound in zip(totals, self.predictor.regressors[kind].predict_interval(dims), strict=True):
                np.add.at(total, numbers, bound)
        return list(zip(*totals.tolist(), strict=True))

    def relative_error(self, pieces: Sequence[Sequence[Operator]]) -> float:
        """What nine in ten networks of these pieces stay within, where all of them err together."""
        _, middle, high = map(math.fsum, zip(*self.bounds(pieces), strict=True))
        return high / middle - 1


@cache
def published_predictor(device: str, dtype: str = "fp32") -> OperatorPredictor:
    """The predictor of a described device in a dtype that comes with the package.

    Raises `PredictorError` for a dtype that the device has no rate for, `KeyError` for a device that is not described.
    """
    peak_described(load_description(device), dtype)
    return OperatorPredictor.load(PREDICTORS / f"{device}-{dtype}.json")
