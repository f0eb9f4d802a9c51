"""The default strategy: a sampler proposes many plans, and all are evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthfinder.strategies.strategy import Ground, Strategy, strategy

if TYPE_CHECKING:
    from search.samplers.sampler import Sampler


@strategy
class Many(Strategy):
    """The sampler that was asked for proposes plans, until as many as were asked for are scored."""

    name = "optuna"

    def sampler(self, ground: Ground) -> Sampler:
        """Returns the sampler that was asked for by name."""
        from search.samplers import known_sampler

        return known_sampler(ground.sampler)
