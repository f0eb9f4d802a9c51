"""Plans for the training of a supernet, drawn near the limits, where the search will look."""

from dataclasses import dataclass
from random import Random
from typing import Final

from pruner.choices.choice import KEEP
from pruner.choices.plan import Plan
from search.space import Space

# Where the bound of a drawn plan lies, as a share of the limit's: the plans that win lie a little below the limit.
_AROUND: Final = (0.9, 1.05)


@dataclass(frozen=True)
class AroundTheLimits:
    """Draws plans near the limits of a space.

    Each plan gets cuts, drawn one by one, until it is within every limit. For each plan all bounds are first scaled by
    one factor drawn from 0.9 to 1.05. Choices that save nothing of any limit are not drawn.

    Attributes:
        space: The plans to draw from.
        count: How many plans one call draws.
    """

    space: Space
    count: int = 1

    def __call__(self, random: Random) -> list[Plan]:
        return [self._plan(random) for _ in range(self.count)]

    def _plan(self, random: Random) -> Plan:
        around = random.uniform(*_AROUND)
        ways = [(block, self._saving(block)) for block in self.space.choices]
        drawn: dict[str, str] = {}
        for block, choices in random.sample(ways, len(ways)):
            plan = self.space.chain.plan(drawn)
            if all(limit.amount(plan) <= around * limit.bound for limit in self.space.limits):
                break
            if choices:
                drawn[block] = random.choice(choices)
        return self.space.chain.plan(drawn)

    def _saving(self, block: str) -> list[str]:
        choices = [choice for choice in self.space.choices[block] if choice != KEEP]
        return [choice for choice in choices if any(limit.saved(block, choice) > 0 for limit in self.space.limits)]
