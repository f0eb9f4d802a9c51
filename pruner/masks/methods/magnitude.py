"""Pruning by magnitude, once: what everything else has to beat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from pruner.masks.methods.method import Method, method

if TYPE_CHECKING:
    from pruner.masks.masked import Masked


@method
@dataclass(frozen=True)
class Magnitude(Method):
    """The groups of the largest magnitude stay, decided before the first step; the weights are trained from there.

    All the epochs that others spend on searching are trained too, under the mask that is final.
    """

    name = "magnitude"

    def phase(self, searched: float) -> int:
        return 1

    def enter(self, masked: "Masked", phase: int) -> None:
        masked.decide(masked.selection.hard(masked.magnitudes()))

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        return masked.support()

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
        """What was decided before stays so."""
        return {key: mask.float() for key, mask in masked.support().items()}
