"""Decides which choices the blocks of a run offer: those asked for, as far as the latency tables have their rows."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from depthfinder.config.search import SearchConfig
from profiles.profile import Profile
from pruner.choices.chain import Chain
from pruner.choices.choice import FITS, SHARES
from search.limits import Limit
from search.space import Space


@dataclass(frozen=True)
class Offer:
    """The choices that a search may take for each block.

    Attributes:
        asked: The settings of the search.
        whole: The blocks with every choice that was asked for.
        tables: The latency tables that the run has so far, of all devices.
    """

    asked: SearchConfig
    whole: Chain
    tables: tuple[Profile, ...]

    @property
    def extra_choices(self) -> tuple[str, ...]:
        """The choices on request that are offered.

        All that were named are offered. Those that a search asks for by itself are offered where every table has rows
        for them.
        """
        asked = self.asked.extra_choices
        if self.asked.named_choices is not None:
            return asked
        return tuple(c for c in asked if all(table.has_row(*row) for table in self.tables for row in self.rows_of([c])))

    @property
    def chain(self) -> Chain:
        """The blocks with the choices that are offered."""
        offered = self.extra_choices
        return self.whole.taking_back([choice for choice in self.asked.extra_choices if choice not in offered])

    def rows_of(self, choices: Collection[str]) -> set[tuple[str, str]]:
        """Returns (signature, choice) of the rows that a table needs for these choices."""
        return {(block.signature, c) for block in self.whole.blocks for c in block.choices if c in choices}

    @property
    def wanted(self) -> set[tuple[str, str]]:
        """(signature, choice) of the rows that a table should have: those of all choices on request."""
        return self.rows_of(self.asked.extra_choices)

    @property
    def required(self) -> set[tuple[str, str]]:
        """(signature, choice) of the rows that a table must have.

        These are the rows of choices that were named; where none were, those of fitted layers if fits score the plans.
        """
        return self.rows_of(self.asked.named_choices or (FITS if self.asked.by_fits else ()))

    @property
    def requested(self) -> tuple[str, ...]:
        """The requested choices that the name of a table's file lists.

        Narrower blocks are among them only where choices were named.
        """
        found = {choice for block in self.whole.blocks for choice in block.requested}
        return tuple(sorted(found if self.asked.named_choices is not None else found - SHARES.keys()))

    def space(self, limits: Sequence[Limit]) -> Space:
        """Returns the plans within the settings of the search and these limits.

        Cuts that save nothing by the tables are left out, unless choices were named.
        """
        asked, chain = self.asked, self.chain
        space = Space.of(
            chain,
            limits,
            keep=asked.keep,
            only=None if asked.cut_choices is None else self._of_blocks(asked.cut_choices),
            max_pruned=asked.max_pruned,
            keep_one_per_stage=asked.keep_one_per_stage,
        )
        return space if asked.named_choices else space.without_dominated_cuts()

    def _of_blocks(self, choices: Sequence[str]) -> tuple[str, ...]:
        """The choices that were named; where none were, those of `choices` that some block offers."""
        if self.asked.named_choices is not None:
            return tuple(choices)
        offered = {choice for block in self.chain.blocks for choice in block.choices}
        return tuple(choice for choice in choices if choice in offered)
