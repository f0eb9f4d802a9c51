"""The plans that may be proposed: what each block may become, and what no plan may exceed."""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

import numpy as np

from pruner.choices.chain import Block, Chain
from pruner.choices.choice import KEEP, THIN
from pruner.choices.plan import Plan
from pruner.errors import PlanError
from search.limits import CountLimit, Limit, ThinningLimit

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Bits = np.ndarray[tuple[int, ...], np.dtype[np.int8]]
"""(plans, cuts) vectors of many plans, in an eighth of the memory of floats."""
Cut = tuple[str, str]
"""(block, choice): a block and what it becomes."""


@dataclass(frozen=True)
class Space:
    """The plans of a chain whose blocks become one of their `choices` and that every limit admits.

    A plan is also a vector of zeros and ones, one for each of `cuts`; at most one of them is set for a block.

    Attributes:
        chain: The blocks of the network.
        choices: Block -> what it may become, what keeps most of it first.
        limits: What no plan may exceed.

    Example:
        >>> from depthfinder.testing.samples import chain_and_table
        >>> from search.limits import latency_limits_by
        >>> chain, table = chain_and_table()
        >>> space = Space.of(chain, latency_limits_by(table, 0.7 * table.uncut_ms), only=["merge"], max_pruned=3)
        >>> space.cuts[0]
        ('blocks.0.mlp', 'merge')
        >>> space.num_plans, space.admits(space.uncut)
        (16, False)
    """

    chain: Chain
    choices: Mapping[str, tuple[str, ...]]
    limits: tuple[Limit, ...]
    harms: Mapping[Cut, float] = field(default_factory=dict)
    """Cut -> the loss of score that is expected of it, in any unit, for the cuts of which something is known."""

    @classmethod
    def of(
        cls,
        chain: Chain,
        limits: Sequence[Limit],
        *,
        keep: Sequence[str] = (),
        only: Sequence[str] | None = None,
        max_pruned: int | None = None,
        keep_one_per_stage: bool = False,
    ) -> "Space":
        """The space of a chain under limits, and under what else is asked of plans; the tokens are thinned at most
        once.

        Args:
            chain: The blocks of the network.
            limits: What no plan may exceed.
            keep: Blocks that stay as they are: names, or paths that blocks lie under.
            only: The choices that blocks may become; None for all that they offer.
            max_pruned: How many blocks may be cut.
            keep_one_per_stage: Whether every stage keeps at least one block as it is.

        Raises:
            PlanError: for a name or a choice that no block has.
        """
        kept = {block.name for pattern in keep for block in _under(chain, pattern)}
        offered = {choice for block in chain.blocks for choice in block.choices}
        requested = {choice for block in chain.blocks for choice in block.on_request} - offered
        for choice in only or ():
            if choice not in offered:
                more_names = f"; on request: {', '.join(sorted(requested))}" if requested else ""
                raise PlanError(
                    f"no block of {chain.model} offers {choice!r}; there are: {', '.join(sorted(offered))}{more_names}"
                )
        choices = {block.name: _allowed(block, block.name in kept, only) for block in chain.blocks}
        more: list[Limit] = []
        if any(THIN in ways for ways in choices.values()):
            more.append(ThinningLimit())
        if max_pruned is not None:
            more.append(CountLimit(frozenset(choices), max_pruned))
        if keep_one_per_stage:
            more += [CountLimit(frozenset(names), len(names) - 1, stage) for stage, names in _stages(chain).items()]
        return cls(chain, choices, (*limits, *more))

    def within(self, limits: Sequence[Limit]) -> "Space":
        """The same space under other limits."""
        return dataclasses.replace(self, limits=tuple(limits))

    def without_dominated_cuts(self) -> "Space":
        """The space without the cuts that help to meet no limit.

        A cut helps if it saves something of a limit that the uncut network exceeds. Where one merged convolution
        takes longer than the two that it replaces, leaving it out saves time and loses nothing. Where the uncut
        network is within every limit, the space is returned as it is.
        """
        exceeded = [limit for limit in self.limits if limit.amount(self.uncut) > limit.bound]
        if not exceeded:
            return self
        choices = {
            block: tuple(c for c in ways if c == KEEP or any(limit.saved(block, c) > 0 for limit in exceeded))
            for block, ways in self.choices.items()
        }
        return dataclasses.replace(self, choices=choices)

    def expecting(self, harms: Mapping[Cut, float]) -> "Space":
        """The same space with other expected harms: cut -> the loss of score that is expected of it, in any unit."""
        return dataclasses.replace(self, harms=harms)

    def without(self, cuts: Collection[Cut]) -> "Space":
        """The space without these cuts."""
        choices = {block: tuple(c for c in ways if (block, c) not in cuts) for block, ways in self.choices.items()}
        return dataclasses.replace(self, choices=choices)

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """Every cut that plans may have, (block, choice), in the chain's order."""
        return tuple((block, choice) for block, choices in self.choices.items() for choice in choices if choice != KEEP)

    @cached_property
    def places(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """(cuts,) the index of each cut's block in the chain."""
        index = {block.name: place for place, block in enumerate(self.chain.blocks)}
        return np.array([index[block] for block, _ in self.cuts], dtype=np.int64)

    @cached_property
    def reach(self) -> Array:
        """(cuts,) how far each cut goes, above 0 and up to 1: its place among its block's cuts, which are listed
        from the mildest on."""
        found = np.empty(len(self.cuts))
        for place in set(self.places.tolist()):
            own = np.flatnonzero(self.places == place)
            found[own] = np.arange(1, len(own) + 1) / len(own)
        return found

    @cached_property
    def expected_harms(self) -> Array | None:
        """(cuts,) the harm that is expected of each, relative to the mean of those that are known; 1 for a cut of
        which nothing is known. None where nothing is known of any cut."""
        known = [self.harms[cut] for cut in self.cuts if cut in self.harms]
        mean = float(np.mean(known)) if known else 0.0
        return np.array([self.harms.get(cut, mean) / mean for cut in self.cuts]) if mean > 0 else None

    @cached_property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """(block kind, choice) for each cut: cuts of equal kind are expected to do about the same harm."""
        kind = {block.name: block.kind for block in self.chain.blocks}
        return tuple((kind[block], choice) for block, choice in self.cuts)

    @property
    def num_plans(self) -> int:
        """How many plans there are when the limits are left aside."""
        count = 1
        for choices in self.choices.values():
            count *= len(choices)
        return count

    @property
    def uncut(self) -> Plan:
        """The plan that keeps every block."""
        return Plan(model=self.chain.model)

    def admits(self, plan: Plan) -> bool:
        """Whether the plan belongs to the space: its choices are allowed, and it is exactly within every limit."""
        return all(plan.choice_of(block) in choices for block, choices in self.choices.items()) and all(
            limit.admits(plan) for limit in self.limits
        )

    def plan(self, vector: Array) -> Plan:
        """The plan of a vector (cuts,)."""
        return self.chain.plan(dict(self.cuts[place] for place in np.flatnonzero(vector > 0.5)))

    def vector(self, plan: Plan) -> Array:
        """(cuts,) one for each cut that the plan makes, else zero."""
        return np.array([float(plan.choice_of(block) == choice) for block, choice in self.cuts])

    @cached_property
    def savings(self) -> Array:
        """(limits, cuts) how much of each limit each cut saves, in the limit's unit."""
        return np.array([[limit.saved(*cut) for cut in self.cuts] for limit in self.limits]).reshape(
            len(self.limits), len(self.cuts)
        )

    @cached_property
    def needed(self) -> Array:
        """(limits,) how much has to be saved from the uncut network; negative where that is within the limit."""
        return np.array([limit.amount(self.uncut) - limit.bound for limit in self.limits])

    def thinned(self, plan: Plan, random: Random) -> Plan:
        """The plan without the cuts that no limit needs.

        Blocks are taken back in random order. Each gets the first of its choices with which the plan is within the
        limits; choices list what keeps most of the block first.
        """
        choices = dict(plan.choices)
        blocks = list(self.choices)
        random.shuffle(blocks)
        # Again where that made room: a cut that is slower than its block does, when it is taken back.
        while sum(self._take_back(plan.model, choices, block) for block in blocks):
            pass
        return self.chain.plan(choices)

    def _take_back(self, model: str, choices: dict[str, str], block: str) -> bool:
        """Gives a block the first of its choices that is still within the limits; returns whether other blocks may
        now find room that they did not find before."""
        allowed, before = self.choices[block], choices.get(block, KEEP)
        for choice in allowed[: allowed.index(before)]:
            plan = Plan(model, choices | {block: choice})
            if all(limit.admits(plan) for limit in self.limits):
                made_room = any(limit.amount(plan) < limit.amount(Plan(model, choices)) for limit in self.limits)
                slower = any(limit.saved(block, before) < limit.saved(block, choice) for limit in self.limits)
                choices[block] = choice
                return made_room or slower
        return False


def _allowed(block: Block, kept: bool, only: Sequence[str] | None) -> tuple[str, ...]:
    if kept:
        return (KEEP,)
    return tuple(choice for choice in block.choices if choice == KEEP or only is None or choice in only)


def _under(chain: Chain, pattern: str) -> list[Block]:
    """The block of that name, or those whose path begins with it."""
    found = [block for block in chain.blocks if block.name == pattern or block.name.startswith(f"{pattern}.")]
    if not found:
        names = f"{chain.blocks[0].name} ... {chain.blocks[-1].name}"
        raise PlanError(f"{chain.model} has no block {pattern!r} to keep; it has {names}")
    return found


def _stages(chain: Chain) -> dict[str, list[str]]:
    """Stage -> its blocks: the path up to the last number in a name (`layer2.0` is of `layer2`, `blocks.3.mlp` of
    `blocks`)."""
    stages: dict[str, list[str]] = {}
    for block in chain.blocks:
        stages.setdefault(re.sub(r"\.\d+[^\d]*$", "", block.name), []).append(block.name)
    return stages
