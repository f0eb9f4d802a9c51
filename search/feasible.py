"""Plans within the limits: the nearest to a wish, the fastest, the best by given gains, all of them."""

import itertools
import math
from collections.abc import Iterator, Mapping
from random import Random
from typing import Final

import numpy as np

from pruner.choices.plan import Plan
from search.errors import BudgetUnreachableError
from search.limits import ThinningLimit
from search.solver import MOST_PAIRS, solve
from search.space import Array, Space

_TIGHTENINGS: Final = 4
# Standard deviations of the logarithms of drawn harms: of blocks around what is expected of them, and of cuts around
# what the cuts of their block have in common.
_BLOCK_SPREAD: Final = 1.0
_CUT_SPREAD: Final = 0.3


def fastest_plan(space: Space) -> Plan | None:
    """The plan that takes least of what the first limit bounds, its latency, and is within the other limits; None
    when there is none."""
    found = [solve(one.within(one.limits[1:]), one.savings[0]) for one in (space, *_without_thinning(space))]
    plans = [space.plan(vector) for vector in found if vector is not None]
    return min(plans, key=space.limits[0].amount, default=None)


def check_reachable(space: Space) -> None:
    """Raises `BudgetUnreachableError` when no plan is within the limits; the message says what the fastest plan
    takes."""
    fastest = fastest_plan(space)
    if fastest is not None and space.admits(fastest):
        return
    if solved_plan(space, np.zeros(len(space.cuts))) is not None:
        return
    asked = ", ".join(limit.text for limit in space.limits)
    if fastest is None:
        raise BudgetUnreachableError(f"no plan of {space.chain.model} has {asked}")
    raise BudgetUnreachableError(
        f"no plan of {space.chain.model} has {asked}: the fastest, which cuts {len(fastest.choices)} of "
        f"{len(space.chain.blocks)} blocks, takes {space.limits[0].amount(fastest):.3f} ms"
    )


def solved_plan(space: Space, gains: Array, pairs: Array | None = None, most_pairs: int = MOST_PAIRS) -> Plan | None:
    """The best plan that every limit admits, as the exact solver finds it.

    Layers that become one make amounts that do not quite add up. Where a plan turns out to exceed a limit, the solver
    is asked again with that limit lower by as much. Where tokens are thinned, sums are further off, for a cut behind
    the thinning saves less than it does alone; if no plan is found so, the solver is asked for one that does not thin.

    Args:
        space: The plans to choose from.
        gains: (cuts,) what each cut adds to the score.
        pairs: (cuts, cuts) what two cuts add together; only the strictly upper triangle counts.
        most_pairs: How many entries of `pairs` count: those of the largest size.

    Returns:
        The plan; the fastest where the solver finds none that is admitted; None where that exceeds a limit too.

    Example:
        >>> from depthfinder.testing.samples import chain_and_table
        >>> from search.limits import CountLimit
        >>> chain, table = chain_and_table()
        >>> space = Space.of(chain, [CountLimit(frozenset(["blocks.0.mlp", "blocks.1.mlp"]), 1)], only=["merge"])
        >>> solved_plan(space, np.array([1.0, 2.0, -1.0, 3.0])).text
        'blocks.1.mlp merge, blocks.3.mlp merge'
    """
    for one in (space, *_without_thinning(space)):
        lower = one
        for _ in range(_TIGHTENINGS):
            found = solve(lower, gains, pairs, most_pairs)
            if found is None:
                break
            plan = space.plan(found)
            if space.admits(plan):
                return plan
            excess = [max(0.0, limit.amount(plan) - limit.bound) for limit in one.limits]
            lower = lower.within([limit.lowered(by) for limit, by in zip(lower.limits, excess, strict=True)])
    fastest = fastest_plan(space)
    return fastest if fastest is not None and space.admits(fastest) else None


def _without_thinning(space: Space) -> list[Space]:
    """The space without the plans that thin the tokens, where it has any: in it, savings add up."""
    if not any(isinstance(limit, ThinningLimit) for limit in space.limits):
        return []
    return [space.within([*space.limits, ThinningLimit(0.0)])]


def feasible_plan(space: Space, wished: Mapping[str, str], random: Random) -> Plan | None:
    """A plan within the limits that is near to `wished`, without cuts that the limits do not need.

    Args:
        space: The plans to choose from.
        wished: Block -> the choice that is wished for.
        random: Weighs the blocks where the wish exceeds a limit, and orders those that are taken back.

    Returns:
        The plan; None when no plan is within the limits.
    """
    plan: Plan | None = space.chain.plan(dict(wished))
    assert plan is not None
    if not space.admits(plan):
        weights = np.array([random.uniform(0.5, 1.5) for _ in space.cuts])
        plan = solved_plan(space, (2 * space.vector(plan) - 1) * weights)
    return None if plan is None else space.thinned(plan, random)


def random_wish(space: Space, random: Random) -> dict[str, str]:
    """Block -> a choice drawn evenly from those that it may become, for every block."""
    return {block: random.choice(choices) for block, choices in space.choices.items()}


def imagined_plan(space: Space, random: Random) -> Plan | None:
    """The best plan within the limits under harms that are drawn at random around those expected of the cuts.

    Unlike a plan drawn evenly from all, it is one that could be the best, whichever blocks turn out to matter. The
    space has to expect some harm (`Space.expected_harms`).

    Returns:
        The plan without cuts that no limit needs; None when no plan is within the limits.
    """
    assert space.expected_harms is not None, "harms are drawn around what is expected"
    of_blocks = {block: math.exp(random.gauss(0, _BLOCK_SPREAD)) for block in space.choices}
    off = [of_blocks[block] * math.exp(random.gauss(0, _CUT_SPREAD)) for block, _ in space.cuts]
    plan = solved_plan(space, -np.array(off) * space.expected_harms)
    return None if plan is None else space.thinned(plan, random)


def every_plan(space: Space) -> Iterator[Plan]:
    """Yields all plans within the limits; plans that begin alike follow one another."""
    for ways in itertools.product(*space.choices.values()):
        plan = space.chain.plan(dict(zip(space.choices, ways, strict=True)))
        if all(limit.admits(plan) for limit in space.limits):
            yield plan
