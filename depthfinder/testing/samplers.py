"""The tests of a sampler: it proposes new plans within the limits, as many as asked for, and the same when repeated."""

import itertools
from collections.abc import Sequence

from depthfinder.testing.samples import chain_and_table
from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.limits import LatencyLimit
from search.samplers import known_sampler
from search.samplers.sampler import Sampler
from search.space import Space
from search.storage.ledger import Entry, Proposal

_WORTH = {"keep": 0.0, "merge": 0.6, "drop": 1.0}


class SamplerSuite:
    """Tests a sampler, which the fixture `sampler` gives.

    Example:
        >>> suite = SamplerSuite()
        >>> suite.test_no_more_is_proposed_than_was_asked_for(known_sampler("random"))
    """

    trials = 40
    """How many plans the sampler is asked for at the most. Set fewer for a slow one."""

    def test_all_that_is_proposed_is_new_and_within_the_limits(self, sampler: Sampler) -> None:
        """The sampler repeats no plan and keeps within the limits, given all that was evaluated before."""
        space = a_space()
        history = asked_in_rounds(sampler, space, self.trials)
        plans = [entry.plan for entry in history]
        assert len(set(plans)) == len(plans) == self.trials
        assert all(space.admits(plan) for plan in plans)
        assert all(plan.choice_of("blocks.0.attn") == "keep" for plan in plans), "that block was to be left alone"

    def test_no_more_is_proposed_than_was_asked_for(self, sampler: Sampler) -> None:
        """The sampler proposes as many plans as asked for while there are any left."""
        space = a_space()
        history = asked_in_rounds(known_sampler("random"), space, 9)
        for count in (1, 3):
            assert len(sampler.propose(space, history, count, 40, 0).proposals) == count

    def test_the_same_question_has_the_same_answer(self, sampler: Sampler) -> None:
        """The sampler remembers nothing between two calls, so that a search that was stopped goes on the same."""
        space = a_space()
        history = asked_in_rounds(known_sampler("random"), space, 11)
        first = sampler.propose(space, history, 2, 40, 7)
        sampler.propose(space, history[:5], 1, 40, 8)
        assert sampler.propose(space, history, 2, 40, 7) == first

    def test_a_small_space_is_exhausted_and_no_more_is_proposed(self, sampler: Sampler) -> None:
        """The sampler proposes every plan of a small space, then no more. It may skip plans that waste budget."""
        chain, table = chain_and_table()
        limits = [LatencyLimit(table, 0.75 * table.uncut_ms)]
        space = Space.of(chain, limits, keep=["blocks.0", "blocks.1", "blocks.2.attn"])
        within = every_plan(space)
        needed = {plan for plan in within if not _is_wasteful(space, plan)}
        seen = [entry.plan for entry in asked_in_rounds(sampler, space, n_trials=len(within) + 20)]
        assert 1 < len(needed) < len(within) < 20
        assert needed <= set(seen) <= set(within)
        assert len(set(seen)) == len(seen)


def a_space() -> Space:
    """Returns the plans of the small network within 0.6 of its latency that leave the first attention block alone."""
    chain, table = chain_and_table()
    return Space.of(chain, [LatencyLimit(table, 0.6 * table.uncut_ms)], keep=["blocks.0.attn"])


def every_plan(space: Space) -> list[Plan]:
    """Returns all plans of a space that are within its limits."""
    ways = itertools.product(*space.choices.values())
    plans = [space.chain.plan(dict(zip(space.choices, way, strict=True))) for way in ways]
    return [plan for plan in plans if space.admits(plan)]


def score(plan: Plan, space: Space) -> float:
    """Returns a made-up score: each cut costs something, and cuts of neighbours cost more together than alone."""
    blocks = [plan.choice_of(block.name) for block in space.chain.blocks]
    worth = sum((1 + i % 3) * _WORTH[choice] for i, choice in enumerate(blocks))
    neighbours = sum(one != "keep" and other != "keep" for one, other in itertools.pairwise(blocks))
    return 1 - 0.05 * worth - 0.04 * neighbours


def entries_of(proposals: Sequence[Proposal], space: Space, first: int = 0) -> list[Entry]:
    """Returns the entries that a study has of proposals once they are evaluated.

    Args:
        proposals: What a sampler proposed.
        space: The space that they are of.
        first: The slot of the first entry.
    """
    return [
        Entry(slot, 0, proposal, space.limits[0].amount(proposal.plan), score=Score(score(proposal.plan, space)))
        for slot, proposal in enumerate(proposals, start=first)
    ]


def asked_in_rounds(sampler: Sampler, space: Space, n_trials: int, seed: int = 0) -> list[Entry]:
    """Returns what a search has evaluated after `n_trials` plans, or when nothing new is proposed.

    Args:
        sampler: What proposes plans.
        space: The plans that are allowed.
        n_trials: The most plans to evaluate.
        seed: The seed of the search.
    """
    history: list[Entry] = []
    while len(history) < n_trials:
        size = sampler.round_size if history else sampler.opening(space, n_trials)
        found = sampler.propose(space, history, min(size, n_trials - len(history)), n_trials, seed)
        if not found.proposals:
            break
        history += entries_of(found.proposals, space, len(history))
    return history


def _is_wasteful(space: Space, plan: Plan) -> bool:
    """Whether a cut could be taken back, in part or whole, within the limits."""
    return any(
        space.admits(space.chain.plan({**plan.choices, block: choice}))
        for block, allowed in space.choices.items()
        for choice in allowed[: allowed.index(plan.choice_of(block))]
    )
