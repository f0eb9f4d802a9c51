"""Pruning by magnitude, once, before the training: the baseline for all other methods."""

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
    """Keeps the groups of the largest magnitude, decided before the first step.

    The epochs that other methods search in are trained under the final masks too.
    """

    name = "magnitude"

    def phase(self, searched: float) -> int:
        """Phase 1 from the start, so that `enter` is called before the first step."""
        return 1

    def enter(self, masked: "Masked", phase: int) -> None:
        """Decides the masks by the magnitudes of the groups."""
        masked.decide(masked.selection.hard(masked.magnitudes()))

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        """The hard masks that were decided before the first step."""
        return masked.support()

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
        """1 for the groups that stay and 0 for the others, so that the decision stands."""
        return {key: mask.float() for key, mask in masked.support().items()}
