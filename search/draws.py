"""Plans for the training of a supernet, drawn where the search will look: around the limits."""

from dataclasses import dataclass
from random import Random
from typing import Final

from pruner.choices.choice import KEEP
from pruner.choices.plan import Plan
from search.space import Space

# How far from its bound a plan may be, as a share of it: the plans that win lie a little below.
_AROUND: Final = (0.9, 1.05)


@dataclass(frozen=True)
class AroundTheLimits:
    """`count` plans, each of cuts drawn one by one until it is within every limit, as that stands for this plan:
    somewhere around its bound. Choices that save nothing of any limit are not drawn."""

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
