"""Every cut scored alone, and the exact solver for what they lose together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthfinder.strategies.strategy import Ground, Strategy, strategy

if TYPE_CHECKING:
    from search.samplers.sampler import Sampler


@strategy
class SingleScores(Strategy):
    """What UPDP's genetic search is compared with: no cut is held to know of another."""

    name = "scores"

    def sampler(self, ground: Ground) -> Sampler:
        """Single cuts first, then the solver's answer."""
        from search.samplers import BySingleScores

        return BySingleScores()
