"""What a plan may not exceed: latencies by tables, weights in memory, the number of cuts, the last block of a stage."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from profiles.profile import Choices, CutPlan, Profile
from pruner.choices.choice import KEEP, THIN

_MORE: Final = 1 + 1e-9


class Limit(ABC):
    """`amount(plan)` may be at most `bound`.

    `saved` is what an exact solver works with: how much less a block takes as a choice than as it is, which is exact
    where amounts add up block by block and near enough where they do not. `admits` has the last word.
    """

    bound: float

    @abstractmethod
    def amount(self, plan: CutPlan) -> float:
        """What the plan takes of that which is limited."""

    @abstractmethod
    def saved(self, block: str, choice: str) -> float:
        """How much less the plan takes if this block, kept so far, becomes `choice`."""

    @property
    @abstractmethod
    def text(self) -> str:
        """'at most 3.200 ms on mi100'."""

    def admits(self, plan: CutPlan) -> bool:
        return self.amount(plan) <= self.bound

    def lowered(self, by: float) -> "Limit":
        """The same limit at a bound that is lower by so much, and by a little more for rounding."""
        return dataclasses.replace(self, bound=self.bound - by * _MORE)  # type: ignore[type-var]


@dataclass(frozen=True)
class LatencyLimit(Limit):
    """At most `bound` milliseconds by a latency table, compared in exact arithmetic.

    Where a latency is the larger of two sums, what cuts save is told of the sum that is larger for the uncut network;
    `latency_limits_by` has a limit beside it for the other.
    """

    profile: Profile
    bound: float
    of: str = ""

    def amount(self, plan: CutPlan) -> float:
        return self.profile.latency_ms(plan)

    def saved(self, block: str, choice: str) -> float:
        """Of a choice that thins the tokens, with all that it saves in the kept blocks behind."""
        table = self.profile.sums[0]
        if choice in table.thinning:
            return table.latency_ms(Choices({})) - table.latency_ms(Choices({block: choice}))
        return table.block_ms(block, KEEP) - table.block_ms(block, choice)

    @property
    def text(self) -> str:
        return f"at most {self.bound:.3f} ms{self.of} on {self.profile.setting.device}"

    def admits(self, plan: CutPlan) -> bool:
        latency_ms = self.profile.latency_ms(plan)
        if latency_ms != self.bound:
            return latency_ms < self.bound  # the sum was rounded once, and rounding never passes a float
        return all(sum(map(Fraction, one.costs_ms(plan))) <= Fraction(self.bound) for one in self.profile.sums)


def latency_limits_by(profile: Profile, bound_ms: float) -> list[LatencyLimit]:
    """That the network takes at most so long by the table: one limit, and one more where the table has two sums, each
    of which has to be within the bound. The first has the last word on both."""
    others = [LatencyLimit(one, bound_ms, " of the smaller sum") for one in profile.sums[1:]]
    return [LatencyLimit(profile, bound_ms), *others]


@dataclass(frozen=True)
class SizeLimit(Limit):
    """At most `bound` of something that adds up block by block: parameters, or bytes of weights.

    `whole` is what the uncut network has, `sizes` what each block has as each choice. Two merged layers that become one
    have less than the sum; the limit counts the sum.
    """

    unit: str
    bound: float
    whole: float
    sizes: Mapping[tuple[str, str], float] = field(repr=False)

    def amount(self, plan: CutPlan) -> float:
        return self.whole - math.fsum(self.saved(block, choice) for block, choice in plan.choices.items())

    def saved(self, block: str, choice: str) -> float:
        return self.sizes[block, KEEP] - self.sizes[block, choice]

    @property
    def text(self) -> str:
        return f"at most {self.bound:,.0f} {self.unit}"


@dataclass(frozen=True)
class CountLimit(Limit):
    """At most `bound` of these blocks are cut."""

    blocks: frozenset[str]
    bound: float
    where: str = "the network"

    def amount(self, plan: CutPlan) -> float:
        return float(sum(block in self.blocks for block in plan.choices))

    def saved(self, block: str, choice: str) -> float:
        return -1.0 if block in self.blocks and choice != KEEP else 0.0

    @property
    def text(self) -> str:
        return f"at most {self.bound:.0f} of {len(self.blocks)} blocks cut in {self.where}"


@dataclass(frozen=True)
class ThinningLimit(Limit):
    """At most `bound` blocks are told to thin the tokens. Of several only the first does: with a bound of 1 every
    network has one plan, and what thinning saves is not counted twice."""

    bound: float = 1.0

    def amount(self, plan: CutPlan) -> float:
        return float(sum(choice == THIN for choice in plan.choices.values()))

    def saved(self, block: str, choice: str) -> float:
        return -1.0 if choice == THIN else 0.0

    @property
    def text(self) -> str:
        return "tokens thinned once at most" if self.bound else "no tokens thinned"
