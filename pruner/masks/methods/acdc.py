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
    """AC/DC (NeurIPS 2021, arXiv 2106.12379): dense and sparse phases of equal length in turn.

    The search begins and ends with a dense phase; the training after it is the last sparse phase. A sparse phase keeps
    the groups of the largest magnitude and sets the others to zero. In the dense phase after it all groups learn again,
    those that were removed from zero.

    Not from the paper are the length of the phases, and that masked channels keep their values: a channel whose
    BatchNorm has a factor of zero would never learn again.

    Attributes:
        phases: How many phases the search has; an odd number ends it with a dense one.
    """

    name = "acdc"
    phases: int = 5

    def phase(self, searched: float) -> int:
        """The number of the phase, from 0 to `phases` - 1."""
        return min(int(searched * self.phases), self.phases - 1)

    def enter(self, masked: "Masked", phase: int) -> None:
        """Masks the groups of small magnitude in a sparse phase, and nothing in a dense one."""
        if not is_sparse(phase):
            masked.decide({key: mask.new_ones(mask.shape) for key, mask in masked.support().items()})
            return
        masked.decide(masked.selection.hard(masked.magnitudes()))
        if masked.granularity.restarts_from_zero:
            masked.project()

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        """The hard masks of the phase."""
        return masked.support()


def is_sparse(phase: int) -> bool:
    """Whether a phase is sparse: every second one is, from phase 1 on."""
    return phase % 2 == 1
