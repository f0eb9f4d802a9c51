"""From any wish to a plan within the limits, and what is said where there is none."""

import itertools
import math
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruner.choices.plan import Plan
from search.errors import BudgetUnreachableError
from search.feasible import check_reachable, every_plan, fastest_plan, feasible_plan, random_wish, solved_plan
from search.limits import LatencyLimit, Limit, SizeLimit
from search.space import Array, Space
from search.verification.budget import Budget
from tables import DEIT


@cache
def plans() -> tuple[Plan, ...]:
    """All that there are."""
    chain = DEIT.chain
    ways = itertools.product(*(block.choices for block in chain.blocks))
    return tuple(chain.plan(dict(zip([block.name for block in chain.blocks], way, strict=True))) for way in ways)


@cache
def fastest_ms() -> float:
    return min(DEIT.table.latency_ms(plan) for plan in plans())


def within_ms(latency_ms: float, *more: Limit, **wishes: object) -> Space:
    return Space.of(DEIT.chain, [LatencyLimit(DEIT.table, latency_ms), *more], **wishes)  # type: ignore[arg-type]


def assert_nothing_wasted(space: Space, plan: Plan) -> None:
    for block, allowed in space.choices.items():
        for choice in allowed[: allowed.index(plan.choice_of(block))]:
            fuller = DEIT.chain.plan({**plan.choices, block: choice})
            assert not space.admits(fuller), "a cut that no limit needs"


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.integers(0, 10**6))
def test_any_wish_becomes_a_plan_that_fits_and_wastes_nothing(between: float, seed: int) -> None:
    random = Random(seed)
    budget_ms = fastest_ms() + between * (1.2 * DEIT.uncut_ms - fastest_ms())
    space = within_ms(budget_ms)
    plan = feasible_plan(space, random_wish(space, random), random)
    assert plan is not None
    assert space.admits(plan)
    assert_nothing_wasted(space, plan)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 1.1), st.floats(0.3, 1.0), st.integers(1, 6), st.booleans(), st.integers(0, 10**6))
def test_with_several_limits_a_wish_becomes_a_plan_if_there_is_one(
    share: float, size: float, most: int, stages: bool, seed: int
) -> None:
    random = Random(seed)
    parameters = SizeLimit("parameters", size * DEIT.parameters, DEIT.parameters, DEIT.sizes)
    space = within_ms(
        share * DEIT.uncut_ms, parameters, max_pruned=most, keep_one_per_stage=stages, keep=["blocks.2.mlp"]
    )
    plan = feasible_plan(space, random_wish(space, random), random)
    assert (plan is not None) == any(space.admits(one) for one in plans())
    if plan is not None:
        assert space.admits(plan)
        assert_nothing_wasted(space, plan)


def test_a_wish_that_fits_keeps_its_cuts_where_they_are_needed() -> None:
    wish = {"blocks.1.attn": "drop", "blocks.1.mlp": "merge"}
    exactly = DEIT.table.latency_ms(DEIT.chain.plan(wish))
    assert feasible_plan(within_ms(exactly), wish, Random(0)) == DEIT.chain.plan(wish)


def test_wishes_are_drawn_from_what_is_allowed_and_reach_all_of_it() -> None:
    space = within_ms(DEIT.uncut_ms, keep=["blocks.0"], only=["merge"])
    random = Random(0)
    wishes = [random_wish(space, random) for _ in range(100)]
    for block, choices in space.choices.items():
        assert {wish[block] for wish in wishes} == set(choices)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 1.0])
def test_every_plan_within_the_limits_is_gone_through_once(share: float) -> None:
    space = within_ms(share * DEIT.uncut_ms, max_pruned=5)
    found = list(every_plan(space))
    assert len(set(found)) == len(found)
    assert set(found) == {plan for plan in plans() if space.admits(plan)}


@pytest.mark.parametrize("most", range(7))
def test_the_fastest_plan_is_the_fastest_within_the_other_limits(most: int) -> None:
    fastest = fastest_plan(within_ms(1e-9, max_pruned=most))
    assert fastest is not None
    assert DEIT.table.latency_ms(fastest) == min(
        DEIT.table.latency_ms(plan) for plan in plans() if len(plan.choices) <= most
    )


def test_a_budget_below_the_fastest_plan_is_refused_with_its_latency() -> None:
    for below in (math.nextafter(fastest_ms(), 0), 0.99 * fastest_ms(), 1e-9):
        with pytest.raises(BudgetUnreachableError, match=rf"cuts 6 of 6 blocks, takes {fastest_ms():.3f} ms"):
            check_reachable(within_ms(below))


def test_a_budget_of_the_fastest_plan_is_reachable() -> None:
    check_reachable(within_ms(fastest_ms()))
    assert solved_plan(within_ms(fastest_ms()), no_gains(fastest_ms())) == fastest_plan(within_ms(fastest_ms()))


def no_gains(budget_ms: float) -> Array:
    return 0 * within_ms(budget_ms).savings[0]


def test_what_the_other_limits_cost_is_part_of_the_refusal() -> None:
    fastest_of_two = min(DEIT.table.latency_ms(plan) for plan in plans() if len(plan.choices) <= 2)
    check_reachable(within_ms(fastest_of_two, max_pruned=2))
    asked = rf"at most 0\.001 ms on null, at most 2 of 6 blocks cut in the network: .* takes {fastest_of_two:.3f} ms"
    with pytest.raises(BudgetUnreachableError, match=asked):
        check_reachable(within_ms(0.001, max_pruned=2))


def test_limits_that_nothing_is_within_are_told_without_a_latency() -> None:
    nothing = SizeLimit("parameters", -1.0, DEIT.parameters, DEIT.sizes)
    with pytest.raises(BudgetUnreachableError, match=r"no plan of .* has at most .* at most -1 parameters$"):
        check_reachable(within_ms(DEIT.uncut_ms, nothing))
    assert feasible_plan(within_ms(DEIT.uncut_ms, nothing), {}, Random(0)) is None


def test_where_everything_is_kept_the_uncut_network_is_the_plan_there_is() -> None:
    check_reachable(within_ms(1.001 * DEIT.uncut_ms, keep=["blocks"]))
    with pytest.raises(BudgetUnreachableError, match=f"cuts 0 of 6 blocks, takes {DEIT.uncut_ms:.3f} ms"):
        check_reachable(within_ms(0.9 * DEIT.uncut_ms, keep=["blocks"]))


@pytest.mark.parametrize("figure", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_is_a_positive_number(figure: float) -> None:
    with pytest.raises(ValueError, match="positive number"):
        Budget(figure)


def test_a_tightened_budget_is_less_in_both_its_figures() -> None:
    assert Budget(8.0, ratio=0.5).tightened(0.25) == Budget(6.0, ratio=0.375)
    assert Budget(8.0).tightened(0.25) == Budget(6.0)
