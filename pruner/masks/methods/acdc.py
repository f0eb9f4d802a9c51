"""AC/DC: dense and sparse phases in turn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from pruner.masks.methods.method import Method, method

if TYPE_CHECKING:
    from pruner.masks.masked import Masked


@method
@dataclass(frozen=True)
class Acdc(Method):
    """AC/DC (NeurIPS 2021, arXiv 2106.12379): the search is `phases` of equal length, dense ones and sparse ones in
    turn, the first and the last dense; the training after the search is the last sparse phase.

    A sparse phase begins by keeping the groups of the largest magnitude and setting the others to zero, and keeps that
    support to its end. In the dense phase after it all learn again, from zero those that were out. How long phases are
    is ours. So is what becomes of channels: they keep their values while they are masked, for one whose BatchNorm has
    a factor of zero would never learn again.
    """

    name = "acdc"
    phases: int = 5

    def phase(self, searched: float) -> int:
        return min(int(searched * self.phases), self.phases - 1)

    def enter(self, masked: "Masked", phase: int) -> None:
        if not is_sparse(phase):
            masked.decide({key: mask.new_ones(mask.shape) for key, mask in masked.support().items()})
            return
        masked.decide(masked.selection.hard(masked.magnitudes()))
        if masked.granularity.restarts_from_zero:
            masked.project()

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        return masked.support()


def is_sparse(phase: int) -> bool:
    """Every second one is."""
    return phase % 2 == 1
