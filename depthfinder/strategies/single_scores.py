"""The strategy of single scores: each cut is scored alone, and the exact solver finds the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthfinder.strategies.strategy import Ground, Strategy, strategy

if TYPE_CHECKING:
    from search.samplers.sampler import Sampler


@strategy
class SingleScores(Strategy):
    """Scores each cut alone and adds up the losses, as if cuts did not interact.

    UPDP's genetic search is compared with this.
    """

    name = "scores"

    def sampler(self, ground: Ground) -> Sampler:
        """Returns a sampler that proposes single cuts first, then the solver's plan."""
        from search.samplers import BySingleScores

        return BySingleScores()
