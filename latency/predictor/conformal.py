"""Bounds that a new error lies between in nine of ten cases (split conformal prediction, Vovk et al., 2005), each class
of operators by its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from latency.predictor.tiles import Array, Classes

COVERAGE: Final = 0.9
_TAIL: Final = (1 - COVERAGE) / 2
# As many as it takes for the widest of them to be the bound of one side; of fewer it is taken wider.
_ENOUGH: Final = 19


@dataclass(frozen=True)
class Bounds:
    """The bounds of one class, in units of what is usual at a place, and how many distinct shapes they come from."""

    low: float
    high: float
    shapes: int

    @classmethod
    def of(cls, scores: Array, shapes: Array) -> "Bounds":
        """By scores (N,) and the shapes that they belong to (N,): errors on one shape at many batches are alike, so
        that it is shapes that count for the correction of a finite sample. What comes of fewer than 19 is as wide as
        the widest, times the root of 19 over how many there are."""
        count = len(np.unique(shapes))
        beyond = min(1.0, (count + 1) / count * (1 - _TAIL))
        wider = max(1.0, float(np.sqrt(_ENOUGH / count)))
        low = np.quantile(scores, 1 - beyond, method="lower")
        high = np.quantile(scores, beyond, method="higher")
        return cls(min(float(low), 0.0) * wider, max(float(high), 0.0) * wider, count)


@dataclass(frozen=True)
class ClassBounds:
    """By the name of a class; what has no class of its own has those of all together, taken wider."""

    of_class: Mapping[str, Bounds]

    @classmethod
    def fitted(cls, scores: Array, shapes: Array, classes: Classes) -> "ClassBounds":
        """All (N,). A class of fewer shapes than enough is as unsure as all together at the least."""
        together = Bounds.of(scores, shapes)
        found = {}
        for name in np.unique(classes).tolist():
            own = Bounds.of(scores[classes == name], shapes[classes == name])
            if own.shapes < _ENOUGH:
                own = Bounds(min(own.low, together.low), max(own.high, together.high), own.shapes)
            found[name] = own
        return cls(found)

    def at(self, classes: Classes) -> tuple[Array, Array]:
        """(N,) -> the low and the high bounds (N,)."""
        lowest = min(bounds.low for bounds in self.of_class.values())
        highest = max(bounds.high for bounds in self.of_class.values())
        stranger = Bounds(lowest, highest, 0)
        of_row = [self.of_class.get(name, stranger) for name in classes.tolist()]
        return np.array([bounds.low for bounds in of_row]), np.array([bounds.high for bounds in of_row])

    def to_record(self) -> dict[str, list[float]]:
        return {name: [bounds.low, bounds.high, bounds.shapes] for name, bounds in self.of_class.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, list[float]]) -> "ClassBounds":
        """Raises `TypeError` or `ValueError` for what are no bounds."""
        found = {}
        for name, (low, high, shapes) in record.items():
            if not float(low) <= 0 <= float(high):
                raise ValueError(f"the bounds {low} to {high} hold no prediction")
            found[name] = Bounds(float(low), float(high), int(shapes))
        if not found:
            raise ValueError("it has no bounds")
        return cls(found)
