"""Evaluating many plans, which a sampler proposes: what is meant where no strategy is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthfinder.strategies.strategy import Ground, Strategy, strategy

if TYPE_CHECKING:
    from search.samplers.sampler import Sampler


@strategy
class Many(Strategy):
    """Plans are proposed by the sampler that was named, and scored, until there were enough."""

    name = "optuna"

    def sampler(self, ground: Ground) -> Sampler:
        """The one that was asked for by name."""
        from search.samplers import known_sampler

        return known_sampler(ground.sampler)
