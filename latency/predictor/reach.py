"""Measures how far an operator lies outside the range that a regression was fitted to, class by class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from latency.predictor.tiles import Array, Classes

_STRANGE: Final = 4.0  # doublings that a class counts as outside of which there was no row


@dataclass(frozen=True)
class Reach:
    """The range of the rows that a regression was fitted to.

    Attributes:
        of_class: The name of a class -> the least and the most of each quantity of its rows, (R,) each, as
            `OperatorKind.reach` returns them.
    """

    of_class: Mapping[str, tuple[Array, Array]]

    @classmethod
    def fitted(cls, reach: Array, classes: Classes) -> "Reach":
        """Takes the range of each class from rows.

        Args:
            reach: (N, R), the quantities of the rows, by `OperatorKind.reach`.
            classes: (N,), their classes.
        """
        names = np.unique(classes).tolist()
        return cls({name: (reach[classes == name].min(axis=0), reach[classes == name].max(axis=0)) for name in names})

    def beyond(self, reach: Array, classes: Classes) -> Array:
        """Returns how far rows lie outside the range of their classes, in doublings.

        The farthest quantity counts. Rows inside their range get 0, and rows of a class that was not seen get 4.

        Args:
            reach: (N, R), the quantities of the rows, by `OperatorKind.reach`.
            classes: (N,), their classes.

        Returns:
            (N,), doublings.
        """
        far = np.full(len(reach), _STRANGE)
        for name, (nearest, farthest) in self.of_class.items():
            here = classes == name
            outside = np.maximum(reach[here] - farthest, nearest - reach[here]).max(axis=1, initial=0.0)
            far[here] = np.where(outside > 1e-9, outside, 0.0)
        return far

    def to_record(self) -> dict[str, list[list[float]]]:
        """Returns the range as plain data for JSON; `from_record` reads it."""
        return {name: [least.tolist(), most.tolist()] for name, (least, most) in self.of_class.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, list[list[float]]]) -> "Reach":
        """Reads what `to_record` returned. Raises `TypeError` or `ValueError` when it holds no range."""
        return cls({name: (np.array(least), np.array(most)) for name, (least, most) in record.items()})
