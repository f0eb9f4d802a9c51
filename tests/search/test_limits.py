"""Limits compare exactly: a plan that takes a rounding error more than its bound is over it."""

import dataclasses
import math
from fractions import Fraction
from functools import cache
from random import Random

import numpy as np
import pytest

from latency.devices.null import MS_PER_PARAMETER, Null
from latency.profiler import profile
from networks import made
from profiles.profile import Profile
from pruner.choices.chain import Chain
from pruner.choices.choice import KEEP
from pruner.choices.plan import Plan
from pruner.network.sizes import parameters_by_choice
from pruner.network.surgery import describe, supernet
from search.feasible import every_plan, solved_plan
from search.limits import CountLimit, LatencyLimit, Limit, SizeLimit, latency_limits_by
from search.space import Space
from tables import DEIT


def crooked(seed: int) -> Profile:
    """The same table with costs that have no short binary fraction, so that floats do not add up to their sum."""
    random = Random(seed)
    rows = tuple(dataclasses.replace(row, in_context_ms=random.uniform(0.1, 10) / 3) for row in DEIT.table.rows)
    pairs = tuple(dataclasses.replace(pair, in_context_ms=random.uniform(-0.1, 0.1)) for pair in DEIT.table.pairs)
    return dataclasses.replace(DEIT.table, rows=rows, pairs=pairs)


def exact_ms(table: Profile, plan: Plan) -> Fraction:
    return sum((Fraction(cost) for cost in table.costs_ms(plan)), Fraction(0))


def some_plans(chain: Chain, count: int) -> list[Plan]:
    random = Random(0)
    return [chain.random_plan(random.random(), random) for _ in range(count)]


def bounds_around(latency_ms: float, random: Random) -> list[float]:
    """The latency itself, one float to each side of it, and two drawn at random."""
    beside = [math.nextafter(latency_ms, 0), latency_ms, math.nextafter(latency_ms, math.inf)]
    return [*beside, random.uniform(0, 2 * latency_ms), latency_ms * (1 + random.uniform(-1e-12, 1e-12))]


@pytest.mark.parametrize("seed", [None, 1, 2], ids=["null", "crooked 1", "crooked 2"])
def test_latencies_are_compared_as_exactly_as_fractions(seed: int | None) -> None:
    random, table = Random(0), DEIT.table if seed is None else crooked(seed)
    compared = 0
    for plan in some_plans(DEIT.chain, 60):
        for bound in bounds_around(table.latency_ms(plan), random):
            assert LatencyLimit(table, bound).admits(plan) == (exact_ms(table, plan) <= Fraction(bound))
            compared += 1
    assert compared >= 200


def test_a_plan_that_is_over_by_less_than_a_float_can_say_is_refused() -> None:
    tables = [crooked(seed) for seed in range(5)]
    found = [(table, plan) for table in tables for plan in some_plans(DEIT.chain, 20)]
    over = [(table, plan) for table, plan in found if exact_ms(table, plan) > Fraction(table.latency_ms(plan))]
    under = [(table, plan) for table, plan in found if exact_ms(table, plan) < Fraction(table.latency_ms(plan))]
    assert over, "no sum was rounded down"
    assert under, "no sum was rounded up"
    for table, plan in over:
        assert not LatencyLimit(table, table.latency_ms(plan)).admits(plan)
    for table, plan in under:
        assert LatencyLimit(table, table.latency_ms(plan)).admits(plan)


def test_parameters_are_counted_as_the_device_of_exact_arithmetic_counts_them() -> None:
    limit = SizeLimit("parameters", 0.0, DEIT.parameters, DEIT.sizes)
    for block in DEIT.chain.blocks:
        for choice in block.choices:
            milliseconds = DEIT.table.block_ms(block.name, KEEP) - DEIT.table.block_ms(block.name, choice)
            assert limit.saved(block.name, choice) * MS_PER_PARAMETER == pytest.approx(milliseconds, rel=1e-9)
    assert limit.amount(Plan(DEIT.chain.model)) == DEIT.parameters


def test_a_size_limit_admits_what_is_left_of_the_whole() -> None:
    for plan in some_plans(DEIT.chain, 30):
        left = DEIT.parameters - sum(
            DEIT.sizes[block, KEEP] - DEIT.sizes[block, choice] for block, choice in plan.choices.items()
        )
        assert SizeLimit("parameters", left, DEIT.parameters, DEIT.sizes).amount(plan) == left
        assert SizeLimit("parameters", left, DEIT.parameters, DEIT.sizes).admits(plan)
        assert not SizeLimit("parameters", left - 1, DEIT.parameters, DEIT.sizes).admits(plan)


def test_a_count_limit_counts_the_cuts_among_its_blocks() -> None:
    names = [block.name for block in DEIT.chain.blocks]
    limit = CountLimit(frozenset(names[:3]), 2, "the first half")
    for plan in some_plans(DEIT.chain, 60):
        cut = sum(plan.choice_of(name) != KEEP for name in names[:3])
        assert limit.amount(plan) == cut
        assert limit.admits(plan) == (cut <= 2)
    assert limit.saved(names[3], "drop") == limit.saved(names[0], KEEP) == 0
    assert limit.saved(names[0], "drop") == -1


@cache
def limits_that_add_up() -> list[tuple[Chain, Limit]]:
    model = made("basic", 0)
    chain, table = describe(model), profile(model, Null(), max_seconds=0.1)
    assert not table.pairs, "nothing of this network joins when it is cut"
    sizes = parameters_by_choice(supernet(model))
    blocks = frozenset(block.name for block in chain.blocks)
    return [
        (chain, LatencyLimit(table, 1.0)),
        (chain, SizeLimit("parameters", 1.0, 1e6, sizes)),
        (chain, CountLimit(blocks, 1.0)),
        (DEIT.chain, SizeLimit("parameters", 1.0, DEIT.parameters, DEIT.sizes)),
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_block_saves_what_the_amount_falls_by(number: int) -> None:
    chain, limit = limits_that_add_up()[number]
    for plan in some_plans(chain, 10):
        for block in chain.blocks:
            kept = chain.plan({**plan.choices, block.name: KEEP})
            for choice in block.choices:
                cut = chain.plan({**plan.choices, block.name: choice})
                fallen = limit.amount(kept) - limit.amount(cut)
                assert limit.saved(block.name, choice) == pytest.approx(fallen, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("by", [0.0, 1e-3, 0.4, 3.0])
def test_a_lowered_limit_is_the_same_limit_lower(by: float) -> None:
    for limit in (
        LatencyLimit(DEIT.table, 5.0),
        SizeLimit("bytes", 5.0, DEIT.parameters, DEIT.sizes),
        CountLimit(frozenset(), 5.0),
    ):
        lowered = limit.lowered(by)
        assert 5.0 - by * 1.001 <= lowered.bound <= 5.0 - by
        assert dataclasses.replace(lowered, bound=5.0) == limit  # type: ignore[type-var]


def test_limits_say_what_they_ask() -> None:
    assert LatencyLimit(DEIT.table, 3.2).text == "at most 3.200 ms on null"
    assert SizeLimit("parameters", 12_345, DEIT.parameters, DEIT.sizes).text == "at most 12,345 parameters"
    assert CountLimit(frozenset("abc"), 2, "layer2").text == "at most 2 of 3 blocks cut in layer2"


def two_sums(seed: int) -> Profile:
    """The table with what the host takes beside what kernels do, each drawn by itself."""
    random = Random(seed)
    rows = tuple(dataclasses.replace(row, host_ms=random.uniform(0.1, 10) / 3) for row in crooked(seed).rows)
    pairs = tuple(dataclasses.replace(pair, host_ms=random.uniform(-0.1, 0.1)) for pair in crooked(seed).pairs)
    return dataclasses.replace(crooked(seed), rows=rows, pairs=pairs)


@pytest.mark.parametrize("seed", range(3))
def test_of_two_sums_both_are_within_the_bound(seed: int) -> None:
    table, random = two_sums(seed), Random(seed)
    kernels, host = ({(row.signature, row.choice): getattr(row, name) for row in table.rows}
                     for name in ("in_context_ms", "host_ms"))  # fmt: skip
    for plan in some_plans(DEIT.chain, 30):
        left = [s for s in table.segments if plan.choice_of(s.name) not in table.vanishing or not s.is_block]
        rows = [(s.signature, plan.choice_of(s.name) if s.is_block else KEEP) for s in left]
        sums = [math.fsum(costs[row] for row in rows) for costs in (kernels, host)]
        joined = [abs(pair.in_context_ms) + abs(pair.host_ms or 0) for pair in table.pairs]
        assert table.latency_ms(plan) == pytest.approx(max(sums), abs=math.fsum(joined) * 4 + 1e-9)
        for bound in bounds_around(table.latency_ms(plan), random):
            both = all(exact_ms(one, plan) <= Fraction(bound) for one in table.sums)
            limits = latency_limits_by(table, bound)
            assert limits[0].admits(plan) == all(limit.admits(plan) for limit in limits) == both


@pytest.mark.parametrize("seed", range(4))
def test_the_solver_finds_the_best_plan_within_both_sums(seed: int) -> None:
    table = two_sums(seed)
    bound = table.latency_ms(DEIT.chain.random_plan(0.5, Random(seed)))
    space = Space.of(DEIT.chain, latency_limits_by(table, bound))
    assert len({limit.text for limit in space.limits}) == 2
    random = np.random.default_rng(seed)
    gains = -random.uniform(0, 1, len(space.cuts))
    found = solved_plan(space, gains)
    best = max(float(gains @ space.vector(plan)) for plan in every_plan(space))
    assert found is not None
    assert space.admits(found)
    assert table.latency_ms(found) <= bound
    assert float(gains @ space.vector(found)) >= best - (0.05 if table.pairs else 1e-9)
