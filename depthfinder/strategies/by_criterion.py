"""Criteria as strategies: the exact solver finds the plan whose cuts do the least harm by a criterion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthfinder.strategies.strategy import STRATEGIES, Ground, Strategy
from pruner.criterion_names import CRITERION_NAMES

if TYPE_CHECKING:
    from search.samplers.sampler import Sampler


class ByCriterion(Strategy):
    """The strategy of one criterion: it finds the plan whose cuts do the least harm in sum.

    A criterion knows the weights of the network alone, so plans are scored by a supernet, which shares them, by
    default.
    """

    scored_by = ("supernet", "fits")
    knows_new_weights = False

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]  # a strategy for each, of one class

    def sampler(self, ground: Ground) -> Sampler:
        """Returns the exact solver over the harm of every cut by the criterion."""
        from pruner.choices.choice import KEEP
        from pruner.criteria import known_criterion
        from pruner.network.surgery import supernet
        from search.samplers import ByGains

        harm = known_criterion(self.name).harm_of_cuts(supernet(ground.model, ground.extra_choices))
        return ByGains({cut: -lost for cut, lost in harm.items() if cut[1] != KEEP}, self.name)


for _name in CRITERION_NAMES:
    STRATEGIES.add(_name, ByCriterion(_name))
