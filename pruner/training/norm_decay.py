"""Gates that close so that the pruned structures shrink smoothly in norm (the Decay Pruning Method).

"Decay Pruning Method: Smooth Pruning With a Self-Rectifying Procedure", arXiv 2406.03879. Taken from the paper: after
every step, the structures to prune are brought to a target norm, x <- x L_target / ||x||, which falls to 0 in equal
steps from the norm that they began with.

What differs from the paper: the structure of a cut block is what its branch ends with (a matrix, or the factors of a
BatchNorm or a layer scale, of which the branch's output is a multiple), and the gate does the scaling, lambda =
L_target / ||x||. So weights and optimizer are left alone, and a block that is merged rather than dropped is closed at
the same pace. The paper's release of structures whose gradients resist is left out: its criterion is not public, and
the plan is what was searched for.
"""

from dataclasses import dataclass

import torch

from pruner.errors import SettingsError
from pruner.network.surgery import Cut


@dataclass(frozen=True)
class NormDecay:
    """The lambdas of all cut blocks over a training, by the norms of what their branches end with.

    Attributes:
        cut: The network of a plan, whose norms are taken anew at every step.
        norms: Block -> the norm that it had at the beginning.
        closing_share: The share of the training after which all gates are closed, in (0, 1].
    """

    cut: Cut
    norms: dict[str, float]
    closing_share: float

    @classmethod
    def of(cls, cut: Cut, closing_share: float) -> "NormDecay":
        """Returns the schedule that begins at the norms that the network has now.

        Args:
            cut: The network of a plan.
            closing_share: The share of the training after which all gates are closed, in (0, 1].

        Raises:
            SettingsError: for a share outside (0, 1].
        """
        if not 0 < closing_share <= 1:
            raise SettingsError(f"gates close within a share of the training in (0, 1], not {closing_share}")
        return cls(cut, {name: _norm(cut, name) for name in cut.plan.choices}, closing_share)

    def lams(self, share: float) -> dict[str, float]:
        """Returns block -> lambda, when `share` of the training is over.

        No lambda is above 1, however small the weights become.
        """
        left = 1 - min(1.0, share / self.closing_share)
        return {name: _lam(left * norm, _norm(self.cut, name)) for name, norm in self.norms.items()}


def _lam(target: float, norm: float) -> float:
    return 0.0 if target <= 0 else 1.0 if norm <= target else target / norm


@torch.no_grad()
def _norm(cut: Cut, name: str) -> float:
    return float(cut.sites[name].ending().double().norm())
