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
"""Vectors of plans, where there are so many that an eighth of the memory matters."""
Cut = tuple[str, str]
"""A block and what it becomes."""


@dataclass(frozen=True)
class Space:
    """The plans of `chain` whose blocks become one of their `choices` and that every limit admits.

    A plan is also a vector of zeros and ones, one for each of `cuts`, at most one of which is set for a block.
    """

    chain: Chain
    choices: Mapping[str, tuple[str, ...]]
    limits: tuple[Limit, ...]
    harms: Mapping[Cut, float] = field(default_factory=dict)
    """What single cuts are expected to cost in score, in no particular unit, where something is known of that."""

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
        """The plans that leave the blocks alone that `keep` names (a block, or a path that blocks lie under), cut only
        in the ways of `only`, cut at most `max_pruned` blocks, and if asked leave a block as it is in every stage. They
        thin the tokens once at the most.

        Raises `PlanError` for a name or a choice that no block has.
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
        """The same under other limits."""
        return dataclasses.replace(self, limits=tuple(limits))

    def without_dominated_cuts(self) -> "Space":
        """Without the cuts that save nothing of what the uncut network has too much of: where one merged convolution
        takes longer than the two that it stands for, these take less time and lose nothing. The same where the uncut
        network is within every limit."""
        exceeded = [limit for limit in self.limits if limit.amount(self.uncut) > limit.bound]
        if not exceeded:
            return self
        choices = {
            block: tuple(c for c in ways if c == KEEP or any(limit.saved(block, c) > 0 for limit in exceeded))
            for block, ways in self.choices.items()
        }
        return dataclasses.replace(self, choices=choices)

    def expecting(self, harms: Mapping[Cut, float]) -> "Space":
        """The same, where so much harm is expected of single cuts."""
        return dataclasses.replace(self, harms=harms)

    def without(self, cuts: Collection[Cut]) -> "Space":
        """Without these ways of cutting single blocks."""
        choices = {block: tuple(c for c in ways if (block, c) not in cuts) for block, ways in self.choices.items()}
        return dataclasses.replace(self, choices=choices)

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """Every way of cutting one block, in the chain's order."""
        return tuple((block, choice) for block, choices in self.choices.items() for choice in choices if choice != KEEP)

    @cached_property
    def places(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """(cuts,) the index of each cut's block in the chain."""
        index = {block.name: place for place, block in enumerate(self.chain.blocks)}
        return np.array([index[block] for block, _ in self.cuts], dtype=np.int64)

    @cached_property
    def reach(self) -> Array:
        """(cuts,) how far each cut goes, from 0 to 1: its place among its block's choices, which list what keeps most
        of the block first."""
        found = np.empty(len(self.cuts))
        for place in set(self.places.tolist()):
            own = np.flatnonzero(self.places == place)
            found[own] = np.arange(1, len(own) + 1) / len(own)
        return found

    @cached_property
    def expected_harms(self) -> Array | None:
        """(cuts,) the harm that is expected of each, 1 in the mean; of those of which nothing is known that of a mean
        one. None where nothing is known of any."""
        known = [self.harms[cut] for cut in self.cuts if cut in self.harms]
        mean = float(np.mean(known)) if known else 0.0
        return np.array([self.harms.get(cut, mean) / mean for cut in self.cuts]) if mean > 0 else None

    @cached_property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """(cuts,) what is cut and how: cuts of equal kind are expected to do about the same harm."""
        kind = {block.name: block.kind for block in self.chain.blocks}
        return tuple((kind[block], choice) for block, choice in self.cuts)

    @property
    def num_plans(self) -> int:
        """How many there are without the limits."""
        count = 1
        for choices in self.choices.values():
            count *= len(choices)
        return count

    @property
    def uncut(self) -> Plan:
        return Plan(model=self.chain.model)

    def admits(self, plan: Plan) -> bool:
        """Whether the plan is one of these; compared exactly."""
        return all(plan.choice_of(block) in choices for block, choices in self.choices.items()) and all(
            limit.admits(plan) for limit in self.limits
        )

    def plan(self, vector: Array) -> Plan:
        return self.chain.plan(dict(self.cuts[place] for place in np.flatnonzero(vector > 0.5)))

    def vector(self, plan: Plan) -> Array:
        """(cuts,) zeros and ones."""
        return np.array([float(plan.choice_of(block) == choice) for block, choice in self.cuts])

    @cached_property
    def savings(self) -> Array:
        """(limits, cuts) what each cut saves of what is limited."""
        return np.array([[limit.saved(*cut) for cut in self.cuts] for limit in self.limits]).reshape(
            len(self.limits), len(self.cuts)
        )

    @cached_property
    def needed(self) -> Array:
        """(limits,) how much has to be saved from the uncut network."""
        return np.array([limit.amount(self.uncut) - limit.bound for limit in self.limits])

    def thinned(self, plan: Plan, random: Random) -> Plan:
        """The plan without the cuts that no limit needs, taken back in an order drawn at random: a block goes back to
        the first of its choices, which list what keeps most of it first, that still is within the limits."""
        choices = dict(plan.choices)
        blocks = list(self.choices)
        random.shuffle(blocks)
        # Again where that made room: a cut that is slower than its block does, when it is taken back.
        while sum(self._take_back(plan.model, choices, block) for block in blocks):
            pass
        return self.chain.plan(choices)

    def _take_back(self, model: str, choices: dict[str, str], block: str) -> bool:
        """Gives a block the first of its choices that still is within the limits; whether others may now find room that
        did not before."""
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
