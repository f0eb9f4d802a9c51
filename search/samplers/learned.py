"""The default sampler: gains of single blocks and of pairs are learned from scores, and the exact solver finds the
plan.

It begins with random plans. Where fits say what harm to expect of cuts, each of these is the best plan under harms
drawn around what is expected. Single-block scores are not measured one by one, with each block cut alone: learned
from plans within the limits, they cost fewer evaluations, and they hold where the search goes on. Every round then
asks three sources: the exact solver, given the likeliest gains; climbing from plan to plan by gains drawn from the
posterior (Thompson sampling); and the one- and two-block neighbours of the best plans, by their expected
improvement. Where plans are scored together, those that begin like another one of the round, or like the best so
far, cost less, and may be preferred.
"""

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final

import numpy as np

from pruner.choices.plan import Plan
from search.feasible import every_plan, feasible_plan, imagined_plan, random_wish, solved_plan
from search.samplers.acquisition import Paths, log_expected_improvement
from search.samplers.neighbours import Moves, Neighbourhood, climbed
from search.samplers.sampler import Proposals, Sampler, sampler
from search.samplers.surrogate import Gains, Surrogate
from search.space import Array, Bits, Space
from search.storage.ledger import Entry, Proposal

_INCUMBENTS: Final = 3
# How many neighbours of a plan are compared: with some twenty blocks of two cuts, all of them.
_AROUND: Final = 1024
_RANDOM_STARTS: Final = 4
_ATTEMPTS: Final = 100
_IMAGINED: Final = 3
_SMALL: Final = 4096
_CONFIDENCE: Final = 2.0
_OPENING: Final = 16
_LEARNT_BY: Final = 20
# What evaluating a plan takes beside the blocks that are left to run, as a share of running a whole network.
_OVERHEAD: Final = 0.1


@sampler
class Learned(Sampler):
    """Proposes plans by learned gains, the exact solver and local search, for scores that each take equally long."""

    name = "auto"
    round_size = 8
    has_opinion = True
    drawn: ClassVar[int] = 3
    """How many plans of a round come from gains that are drawn from the posterior."""
    prefix_weight: ClassVar[float] = 0.0
    """How much the cost of evaluating a plan counts beside its expected improvement."""

    def opening(self, space: Space, n_trials: int) -> int:
        """A quarter of all plans, 16 at the most."""
        return max(1, min(_OPENING, n_trials // 4))

    def size_behind(self, count: int) -> int:
        """A twentieth of the plans evaluated so far, at least 8: so few teach little more, and learning takes longer
        each time."""
        return max(self.round_size, count // _LEARNT_BY)

    def propose(self, space: Space, history: Sequence[Entry], count: int, n_trials: int, seed: int) -> Proposals:
        """Proposes plans by what the history teaches, and fills the round with random ones."""
        chosen = Chosen({entry.plan for entry in history}, count)
        random = Random(f"{seed} {len(history)}")
        attainable = None
        if len(history) > 1:
            surrogate = learned_from(space, history)
            attainable = propose_by(surrogate, space, history, chosen, random, self.drawn, self.prefix_weight)
        elif space.expected_harms is not None:
            expected = solved_plan(space, -space.expected_harms)
            if expected is not None and space.admits(expected):
                chosen.add(expected, "solver")
            _imagine(space, chosen, random)
        fill(space, chosen, random)
        if not chosen.proposals and space.num_plans <= _SMALL:
            attainable = -np.inf  # every plan was evaluated
        return Proposals(tuple(chosen.proposals), attainable)


@sampler
class Prefix(Learned):
    """The same for an evaluator that runs shared beginnings of plans once: it prefers plans that begin like others."""

    name = "prefix"
    drawn = 2
    prefix_weight = 0.25


class Chosen:
    """The plans of a round as they are chosen, each of them new.

    Args:
        known: The plans that were evaluated or chosen already.
        count: How many plans the round takes.
    """

    def __init__(self, known: set[Plan], count: int) -> None:
        self.known, self.count = known, count
        self.proposals: list[Proposal] = []

    def add(self, plan: Plan, how: str) -> bool:
        """Adds a plan; returns whether it is new and there was room for it."""
        if self.is_full or plan in self.known:
            return False
        self.known.add(plan)
        self.proposals.append(Proposal(plan, how))
        return True

    def count_of(self, how: str) -> int:
        """How many of the plans were proposed by `how`."""
        return sum(proposal.how == how for proposal in self.proposals)

    @property
    def is_full(self) -> bool:
        """Whether the round has all its plans."""
        return len(self.proposals) >= self.count


def learned_from(space: Space, history: Sequence[Entry]) -> Surrogate:
    """The model of gains that the scores of `history` teach, whatever the limits are."""
    vectors = np.array([space.vector(entry.plan) for entry in history])
    return Surrogate(space, vectors, np.array([entry.score.value for entry in history if entry.score is not None]))


def propose_by(
    surrogate: Surrogate,
    space: Space,
    history: Sequence[Entry],
    chosen: Chosen,
    random: Random,
    drawn: int = 0,
    prefix_weight: float = 0.0,
) -> float | None:
    """Adds plans to the round by what was learned.

    Args:
        surrogate: What was learned.
        space: The plans that may be proposed.
        history: The entries that it was learned from.
        chosen: The round, which is added to.
        random: The source of random numbers.
        drawn: How many plans come from gains that are drawn from the posterior.
        prefix_weight: How much the cost of evaluating a plan counts beside its expected improvement.

    Returns:
        The highest score that the model holds possible; None where no plan is known to be within the limits.
    """
    mean = surrogate.mean()
    within = [(entry.score.value, entry.plan) for entry in history if entry.score and space.admits(entry.plan)]
    best = sorted(within, key=lambda scored: -scored[0])[:_INCUMBENTS]
    incumbents = [space.vector(plan) for _, plan in best]
    likeliest = solved_plan(space, mean.single, mean.pairs)
    if likeliest is None:
        return None
    centres = [*incumbents, climbed(space, space.vector(likeliest), mean)]
    for centre in reversed(centres):
        if space.admits(space.plan(centre)):
            chosen.add(space.plan(centre), "solver")
            break
    generator = np.random.default_rng(random.getrandbits(64))
    for _ in range(2 * drawn):
        if chosen.count_of("draw") == drawn:
            break
        plan = _climbed_from_anywhere(space, surrogate.draw(generator), incumbents, random)
        if space.admits(plan):
            chosen.add(plan, "draw")
    moves = Moves(space)
    around = [Neighbourhood(moves, centre).most_promising(mean, _AROUND) for centre in centres]
    # The centres too, so that there is always one to speak of.
    pool = np.unique(np.vstack([*around, *(centre[None].astype(np.int8) for centre in centres)]), axis=0)
    expected, deviation = surrogate.predicted(mean, pool, np.array(centres))
    best_expected = float(mean.scores(np.array(incumbents)).max()) if incumbents else -np.inf
    paths = Paths(space, [plan for _, plan in best])
    worth = log_expected_improvement(expected - best_expected, deviation)
    _add_neighbours(space, chosen, pool, worth, paths, prefix_weight)
    return surrogate.score_at(float(np.max(expected + _CONFIDENCE * deviation)))


def _add_neighbours(space: Space, chosen: Chosen, pool: Bits, worth: Array, paths: Paths, prefix_weight: float) -> None:
    """Fills the round from vectors of `pool` (plans, cuts), by expected improvement for what an evaluation costs
    (expected improvement per second, Snoek, Larochelle and Adams, NeurIPS 2012)."""
    for proposal in chosen.proposals:
        paths.share(proposal.plan)
    left = paths.left(pool)
    while not chosen.is_full and np.isfinite(worth).any():
        index = int(np.argmax(worth - prefix_weight * np.log(_OVERHEAD + left)))
        worth[index] = -np.inf
        plan = space.plan(pool[index])
        if plan not in chosen.known and space.admits(plan):
            chosen.add(plan, "flip")
            paths.share(plan)
            left = np.minimum(left, paths.left_beside(plan, pool))


def _imagine(space: Space, chosen: Chosen, random: Random) -> None:
    """Adds plans that may be the best, as long as a few draws for each find new ones."""
    for _ in range(_IMAGINED * chosen.count):
        plan = None if chosen.is_full else imagined_plan(space, random)
        if plan is None:
            return
        chosen.add(plan, "random")


def _climbed_from_anywhere(space: Space, gains: Gains, incumbents: Sequence[Array], random: Random) -> Plan:
    """The best plan by these gains that climbing reaches, from the best plans so far and from random ones."""
    starts = list(incumbents)
    for _ in range(_RANDOM_STARTS):
        plan = feasible_plan(space, random_wish(space, random), random)
        if plan is not None:
            starts.append(space.vector(plan))
    ends = np.array([climbed(space, start, gains) for start in starts])
    return space.plan(ends[int(gains.scores(ends).argmax())])


def fill(space: Space, chosen: Chosen, random: Random, within: Sequence[Space] = ()) -> None:
    """Fills what is left of the round with random plans, and in a small space with any that are new.

    Args:
        space: The plans that may be proposed.
        chosen: The round, which is added to.
        random: The source of random numbers.
        within: Narrower spaces; if there are any, each random plan is within one of them.
    """
    for _ in range(_ATTEMPTS):
        if chosen.is_full:
            return
        where = random.choice(within) if within else space
        plan = feasible_plan(where, random_wish(where, random), random)
        if plan is not None:
            chosen.add(plan, "random")
    if space.num_plans <= _SMALL:
        for plan in every_plan(space):
            chosen.add(plan, "random")
