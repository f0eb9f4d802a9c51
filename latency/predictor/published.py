"""Predicts what operators take on described devices, by predictors that were fitted to published timings."""

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
"""The folder of the predictors that come with the package."""
Bounds = tuple[float, float, float]
"""A lower bound, a prediction and an upper bound, in milliseconds."""


class PublishedCosts:
    """Predicts what the operators of pieces take on a described device in one dtype."""

    def __init__(self, device: str, dtype: str = "fp32") -> None:
        """Loads the predictor that comes with the package.

        Args:
            device: The name of a described device.
            dtype: The dtype of the operators.

        Raises:
            PredictorError: when the device has no rate for the dtype.
            KeyError: when the device is not described.
        """
        self.predictor = published_predictor(device, dtype)

    def bounds(self, pieces: Sequence[Sequence[Operator]]) -> list[Bounds]:
        """Returns (lower bound, prediction, upper bound) of each piece in milliseconds.

        The operators of a piece are taken to err together, so their bounds add up.

        Args:
            pieces: The operators of each piece.
        """
        each = [(number, operator) for number, piece in enumerate(pieces) for operator in piece]
        totals = np.zeros((3, len(pieces)))
        for kind in sorted({operator.kind for _, operator in each}):
            numbers = np.array([number for number, operator in each if operator.kind == kind])
            dims = np.array([operator.dims for _, operator in each if operator.kind == kind], dtype=float)
            for total, bound in zip(totals, self.predictor.regressors[kind].predict_interval(dims), strict=True):
                np.add.at(total, numbers, bound)
        return list(zip(*totals.tolist(), strict=True))

    def relative_error(self, pieces: Sequence[Sequence[Operator]]) -> float:
        """Returns the relative error that nine in ten networks of these pieces stay within, if all err together."""
        _, middle, high = map(math.fsum, zip(*self.bounds(pieces), strict=True))
        return high / middle - 1


@cache
def published_predictor(device: str, dtype: str = "fp32") -> OperatorPredictor:
    """Loads the predictor of a described device in a dtype, which comes with the package.

    Raises:
        PredictorError: when the device has no rate for the dtype.
        KeyError: when the device is not described.
    """
    peak_described(load_description(device), dtype)
    return OperatorPredictor.load(PREDICTORS / f"{device}-{dtype}.json")
