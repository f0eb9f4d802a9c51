"""From any wish to a plan within the limits, and what is said where there is none."""

import itertools
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import chain_and_table

from networks import made
from pruner.plan import Plan
from pruner.sizes import parameters_by_choice
from pruner.surgery import supernet
from search.budget import Budget
from search.errors import BudgetUnreachableError
from search.feasible import check_reachable, every_plan, fastest_plan, feasible_plan, random_wish, solved_plan
from search.limits import LatencyLimit, Limit, SizeLimit
from search.space import Array, Space

MODEL = made("deit", 0)
CHAIN, TABLE = chain_and_table("deit")
SIZES = parameters_by_choice(supernet(MODEL))
PARAMETERS = float(sum(parameter.numel() for parameter in MODEL.parameters()))
PLANS = [
    CHAIN.plan(dict(zip([block.name for block in CHAIN.blocks], way, strict=True)))
    for way in itertools.product(*(block.choices for block in CHAIN.blocks))
]
BASELINE_MS = TABLE.latency_ms(Plan(CHAIN.model))
FASTEST_MS = min(TABLE.latency_ms(plan) for plan in PLANS)


def within_ms(latency_ms: float, *more: Limit, **wishes: object) -> Space:
    return Space.of(CHAIN, [LatencyLimit(TABLE, latency_ms), *more], **wishes)  # type: ignore[arg-type]


def assert_nothing_wasted(space: Space, plan: Plan) -> None:
    for block, allowed in space.choices.items():
        for choice in allowed[: allowed.index(plan.choice_of(block))]:
            fuller = CHAIN.plan({**plan.choices, block: choice})
            assert not space.admits(fuller), "a cut that no limit needs"


@settings(max_examples=60, deadline=None)
@given(st.floats(min_value=FASTEST_MS, max_value=1.2 * BASELINE_MS), st.integers(0, 10**6))
def test_any_wish_becomes_a_plan_that_fits_and_wastes_nothing(budget_ms: float, seed: int) -> None:
    random = Random(seed)
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
    parameters = SizeLimit("parameters", size * PARAMETERS, PARAMETERS, SIZES)
    space = within_ms(
        share * BASELINE_MS, parameters, max_pruned=most, keep_one_per_stage=stages, keep=["blocks.2.mlp"]
    )
    plan = feasible_plan(space, random_wish(space, random), random)
    assert (plan is not None) == any(space.admits(one) for one in PLANS)
    if plan is not None:
        assert space.admits(plan)
        assert_nothing_wasted(space, plan)


def test_a_wish_that_fits_keeps_its_cuts_where_they_are_needed() -> None:
    wish = {"blocks.1.attn": "drop", "blocks.1.mlp": "merge"}
    exactly = TABLE.latency_ms(CHAIN.plan(wish))
    assert feasible_plan(within_ms(exactly), wish, Random(0)) == CHAIN.plan(wish)


def test_wishes_are_drawn_from_what_is_allowed_and_reach_all_of_it() -> None:
    space = within_ms(BASELINE_MS, keep=["blocks.0"], only=["merge"])
    random = Random(0)
    wishes = [random_wish(space, random) for _ in range(100)]
    for block, choices in space.choices.items():
        assert {wish[block] for wish in wishes} == set(choices)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 1.0])
def test_every_plan_within_the_limits_is_gone_through_once(share: float) -> None:
    space = within_ms(share * BASELINE_MS, max_pruned=5)
    found = list(every_plan(space))
    assert len(set(found)) == len(found)
    assert set(found) == {plan for plan in PLANS if space.admits(plan)}


@pytest.mark.parametrize("most", range(7))
def test_the_fastest_plan_is_the_fastest_within_the_other_limits(most: int) -> None:
    fastest = fastest_plan(within_ms(1e-9, max_pruned=most))
    assert fastest is not None
    assert TABLE.latency_ms(fastest) == min(TABLE.latency_ms(plan) for plan in PLANS if len(plan.choices) <= most)


@pytest.mark.parametrize("below", [math.nextafter(FASTEST_MS, 0), 0.99 * FASTEST_MS, 1e-9])
def test_a_budget_below_the_fastest_plan_is_refused_with_its_latency(below: float) -> None:
    with pytest.raises(BudgetUnreachableError, match=rf"cuts 6 of 6 blocks, takes {FASTEST_MS:.3f} ms"):
        check_reachable(within_ms(below))


def test_a_budget_of_the_fastest_plan_is_reachable() -> None:
    check_reachable(within_ms(FASTEST_MS))
    assert solved_plan(within_ms(FASTEST_MS), no_gains(FASTEST_MS)) == fastest_plan(within_ms(FASTEST_MS))


def no_gains(budget_ms: float) -> Array:
    return 0 * within_ms(budget_ms).savings[0]


def test_what_the_other_limits_cost_is_part_of_the_refusal() -> None:
    fastest_of_two = min(TABLE.latency_ms(plan) for plan in PLANS if len(plan.choices) <= 2)
    check_reachable(within_ms(fastest_of_two, max_pruned=2))
    asked = rf"at most 0\.001 ms on null, at most 2 of 6 blocks cut in the network: .* takes {fastest_of_two:.3f} ms"
    with pytest.raises(BudgetUnreachableError, match=asked):
        check_reachable(within_ms(0.001, max_pruned=2))


def test_limits_that_nothing_is_within_are_told_without_a_latency() -> None:
    nothing = SizeLimit("parameters", -1.0, PARAMETERS, SIZES)
    with pytest.raises(BudgetUnreachableError, match=r"no plan of .* has at most .* at most -1 parameters$"):
        check_reachable(within_ms(BASELINE_MS, nothing))
    assert feasible_plan(within_ms(BASELINE_MS, nothing), {}, Random(0)) is None


def test_where_everything_is_kept_the_uncut_network_is_the_plan_there_is() -> None:
    check_reachable(within_ms(1.001 * BASELINE_MS, keep=["blocks"]))
    with pytest.raises(BudgetUnreachableError, match=f"cuts 0 of 6 blocks, takes {BASELINE_MS:.3f} ms"):
        check_reachable(within_ms(0.9 * BASELINE_MS, keep=["blocks"]))


@pytest.mark.parametrize("figure", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_is_a_positive_number(figure: float) -> None:
    with pytest.raises(ValueError, match="positive number"):
        Budget(figure)


def test_a_tightened_budget_is_less_in_both_its_figures() -> None:
    assert Budget(8.0, ratio=0.5).tightened(0.25) == Budget(6.0, ratio=0.375)
    assert Budget(8.0).tightened(0.25) == Budget(6.0)
