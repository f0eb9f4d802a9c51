"""What a plan may not exceed: latency by a table, parameters or bytes of weights, the number of cuts, of thinnings."""

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
    """A limit on plans: `amount(plan)` may be at most `bound`.

    The exact solver works with `saved`, as if amounts added up block by block. Where they do, that is exact, and
    elsewhere near enough: `admits` decides in the end.

    Attributes:
        bound: The largest amount that a plan may have, in the unit of the limit.
    """

    bound: float

    @abstractmethod
    def amount(self, plan: CutPlan) -> float:
        """The plan's latency, size or count that is limited, in the unit of `bound`."""

    @abstractmethod
    def saved(self, block: str, choice: str) -> float:
        """How much lower the amount becomes when `block` changes from kept to `choice`; negative where it rises."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The limit in words: 'at most 3.200 ms on mi100'."""

    def admits(self, plan: CutPlan) -> bool:
        """Whether the plan is within the limit."""
        return self.amount(plan) <= self.bound

    def lowered(self, by: float) -> "Limit":
        """The same limit with its bound lower by `by`, and by a little more to allow for rounding."""
        return dataclasses.replace(self, bound=self.bound - by * _MORE)  # type: ignore[type-var]


@dataclass(frozen=True)
class LatencyLimit(Limit):
    """A latency of at most `bound` milliseconds by a latency table, compared in exact arithmetic.

    Where a latency is the larger of two sums, `saved` speaks of the sum that is larger for the uncut network;
    `latency_limits_by` adds a limit for the other.

    Attributes:
        profile: The latency table.
        bound: Milliseconds.
        of: What stands behind the figure in `text`, such as " of the smaller sum".
    """

    profile: Profile
    bound: float
    of: str = ""

    def amount(self, plan: CutPlan) -> float:
        """The plan's latency by the table, in milliseconds."""
        return self.profile.latency_ms(plan)

    def saved(self, block: str, choice: str) -> float:
        """The milliseconds that a cut saves; for one that thins the tokens, with all that it saves in the kept
        blocks behind it."""
        table = self.profile.sums[0]
        if choice in table.thinning:
            return table.latency_ms(Choices({})) - table.latency_ms(Choices({block: choice}))
        return table.block_ms(block, KEEP) - table.block_ms(block, choice)

    @property
    def text(self) -> str:
        """The limit in words: 'at most 3.200 ms on mi100'."""
        return f"at most {self.bound:.3f} ms{self.of} on {self.profile.setting.device}"

    def admits(self, plan: CutPlan) -> bool:
        """Whether every sum of the table is within the bound, exactly: no rounding decides."""
        latency_ms = self.profile.latency_ms(plan)
        if latency_ms != self.bound:
            return latency_ms < self.bound  # the sum was rounded once, and rounding never passes a float
        return all(sum(map(Fraction, one.costs_ms(plan))) <= Fraction(self.bound) for one in self.profile.sums)


def latency_limits_by(profile: Profile, bound_ms: float) -> list[LatencyLimit]:
    """The limits that keep a network's latency by the table within `bound_ms` milliseconds.

    Returns:
        One limit, and one more where the table has two sums, each of which has to be within the bound. The first
        limit checks both.
    """
    others = [LatencyLimit(one, bound_ms, " of the smaller sum") for one in profile.sums[1:]]
    return [LatencyLimit(profile, bound_ms), *others]


@dataclass(frozen=True)
class SizeLimit(Limit):
    """At most `bound` parameters, or bytes of weights.

    Two merged layers that become one have less than the sum; the limit counts the sum.

    Attributes:
        unit: What is counted, in words.
        bound: The largest size that a plan may have, in that unit.
        whole: The size of the uncut network.
        sizes: (block, choice) -> the size of the block as that choice; `keep` included.
    """

    unit: str
    bound: float
    whole: float
    sizes: Mapping[tuple[str, str], float] = field(repr=False)

    def amount(self, plan: CutPlan) -> float:
        """The size of the plan's network."""
        return self.whole - math.fsum(self.saved(block, choice) for block, choice in plan.choices.items())

    def saved(self, block: str, choice: str) -> float:
        """How much smaller the block is as `choice` than when it is kept."""
        return self.sizes[block, KEEP] - self.sizes[block, choice]

    @property
    def text(self) -> str:
        """The limit in words: at most how many of which unit."""
        return f"at most {self.bound:,.0f} {self.unit}"


@dataclass(frozen=True)
class CountLimit(Limit):
    """At most `bound` of the named blocks are cut.

    Attributes:
        blocks: The names of the blocks that are counted.
        bound: How many of them may be cut.
        where: What these blocks make up, in words, such as a stage's name.
    """

    blocks: frozenset[str]
    bound: float
    where: str = "the network"

    def amount(self, plan: CutPlan) -> float:
        """How many of the blocks the plan cuts."""
        return float(sum(block in self.blocks for block in plan.choices))

    def saved(self, block: str, choice: str) -> float:
        """-1 for a cut of one of the blocks, else 0."""
        return -1.0 if block in self.blocks and choice != KEEP else 0.0

    @property
    def text(self) -> str:
        """The limit in words: 'at most 6 of 24 blocks cut in the network'."""
        return f"at most {self.bound:.0f} of {len(self.blocks)} blocks cut in {self.where}"


@dataclass(frozen=True)
class ThinningLimit(Limit):
    """At most `bound` blocks thin the tokens.

    Where a plan asks several blocks to, only the first does. With a bound of 1 every network has one plan, and what
    thinning saves is not counted twice.
    """

    bound: float = 1.0

    def amount(self, plan: CutPlan) -> float:
        """How many blocks the plan tells to thin the tokens."""
        return float(sum(choice == THIN for choice in plan.choices.values()))

    def saved(self, block: str, choice: str) -> float:
        """-1 for a choice that thins the tokens, else 0."""
        return -1.0 if choice == THIN else 0.0

    @property
    def text(self) -> str:
        """The limit in words."""
        return "tokens thinned once at most" if self.bound else "no tokens thinned"
