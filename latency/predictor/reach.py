"""How far from what it was fitted on a regression is asked, class by class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from latency.predictor.tiles import Array, Classes

_STRANGE: Final = 4.0  # doublings that a class counts as outside of which there was no row


@dataclass(frozen=True)
class Reach:
    """By the name of a class, the least and the most (R,) of what its rows had (`OperatorKind.reach`)."""

    of_class: Mapping[str, tuple[Array, Array]]

    @classmethod
    def fitted(cls, reach: Array, classes: Classes) -> "Reach":
        """From (N, R) and (N,)."""
        names = np.unique(classes).tolist()
        return cls({name: (reach[classes == name].min(axis=0), reach[classes == name].max(axis=0)) for name in names})

    def beyond(self, reach: Array, classes: Classes) -> Array:
        """(N, R), (N,) -> (N,): by how many doublings a row lies outside of its class, in whatever it does so most; 0
        of what lies inside."""
        far = np.full(len(reach), _STRANGE)
        for name, (nearest, farthest) in self.of_class.items():
            here = classes == name
            outside = np.maximum(reach[here] - farthest, nearest - reach[here]).max(axis=1, initial=0.0)
            far[here] = np.where(outside > 1e-9, outside, 0.0)
        return far

    def to_record(self) -> dict[str, list[list[float]]]:
        return {name: [least.tolist(), most.tolist()] for name, (least, most) in self.of_class.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, list[list[float]]]) -> "Reach":
        """Raises `TypeError` or `ValueError` for what is none."""
        return cls({name: (np.array(least), np.array(most)) for name, (least, most) in record.items()})
