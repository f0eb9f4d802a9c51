"""Bounds that nine in ten new errors lie within, for each class of operators (split conformal prediction, Vovk et al.,
2005)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from latency.predictor.tiles import Array, Classes

COVERAGE: Final = 0.9
"""The share of new errors that the bounds hold."""
_TAIL: Final = (1 - COVERAGE) / 2
# As many as it takes for the widest of them to be the bound of one side; of fewer it is taken wider.
_ENOUGH: Final = 19


@dataclass(frozen=True)
class Bounds:
    """The bounds of the errors of one class.

    Attributes:
        low: The lower bound, at most 0, as a multiple of the error that is usual for such an operator.
        high: The upper bound, at least 0, likewise.
        shapes: The number of distinct shapes that the bounds come from.
    """

    low: float
    high: float
    shapes: int

    @classmethod
    def of(cls, scores: Array, shapes: Array) -> "Bounds":
        """Takes the bounds from errors that a fit did not see.

        Errors on one shape at many batch sizes are alike, so the finite-sample correction counts shapes, not errors.
        Bounds from fewer than 19 shapes are those of the widest errors, times the square root of 19 over the shapes.

        Args:
            scores: (N,), the errors, as multiples of the usual error.
            shapes: (N,), the number of the shape that each belongs to.
        """
        count = len(np.unique(shapes))
        beyond = min(1.0, (count + 1) / count * (1 - _TAIL))
        wider = max(1.0, float(np.sqrt(_ENOUGH / count)))
        low = np.quantile(scores, 1 - beyond, method="lower")
        high = np.quantile(scores, beyond, method="higher")
        return cls(min(float(low), 0.0) * wider, max(float(high), 0.0) * wider, count)


@dataclass(frozen=True)
class ClassBounds:
    """The bounds of each class; a class that was not seen gets the widest bounds of all.

    Attributes:
        of_class: The name of a class -> its bounds.
    """

    of_class: Mapping[str, Bounds]

    @classmethod
    def fitted(cls, scores: Array, shapes: Array, classes: Classes) -> "ClassBounds":
        """Takes the bounds of each class from errors that a fit did not see.

        A class of fewer than 19 shapes gets bounds that are at least as wide as those of all classes together.

        Args:
            scores: (N,), the errors, as multiples of the usual error.
            shapes: (N,), the number of the shape that each belongs to.
            classes: (N,), the name of the class that each belongs to.
        """
        together = Bounds.of(scores, shapes)
        found = {}
        for name in np.unique(classes).tolist():
            own = Bounds.of(scores[classes == name], shapes[classes == name])
            if own.shapes < _ENOUGH:
                own = Bounds(min(own.low, together.low), max(own.high, together.high), own.shapes)
            found[name] = own
        return cls(found)

    def at(self, classes: Classes) -> tuple[Array, Array]:
        """Returns the lower and the upper bounds, (N,) each, for operators of these classes (N,)."""
        lowest = min(bounds.low for bounds in self.of_class.values())
        highest = max(bounds.high for bounds in self.of_class.values())
        stranger = Bounds(lowest, highest, 0)
        of_row = [self.of_class.get(name, stranger) for name in classes.tolist()]
        return np.array([bounds.low for bounds in of_row]), np.array([bounds.high for bounds in of_row])

    def to_record(self) -> dict[str, list[float]]:
        """Returns the bounds as plain data for JSON; `from_record` reads it."""
        return {name: [bounds.low, bounds.high, bounds.shapes] for name, bounds in self.of_class.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, list[float]]) -> "ClassBounds":
        """Reads what `to_record` returned. Raises `TypeError` or `ValueError` when it holds no bounds."""
        found = {}
        for name, (low, high, shapes) in record.items():
            if not float(low) <= 0 <= float(high):
                raise ValueError(f"the bounds {low} to {high} hold no prediction")
            found[name] = Bounds(float(low), float(high), int(shapes))
        if not found:
            raise ValueError("it has no bounds")
        return cls(found)
