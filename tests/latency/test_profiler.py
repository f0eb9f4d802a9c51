"""Profiling on the device of exact arithmetic, where every figure is known beforehand."""

import itertools
from random import Random

import pytest
from torch import nn

from latency.devices import Null
from latency.devices.null import MS_PER_PARAMETER
from latency.profiler import Workbench, profile
from networks import made
from profiles.profile import Profile
from pruner.models import load_model
from pruner.plan import Plan
from pruner.surgery import apply, describe, merge


@pytest.fixture
def found() -> Profile:
    return profile(made("deit", 0), Null(), max_seconds=0.1)


def test_the_table_is_exact_for_any_plan(found: Profile) -> None:
    model = made("deit", 0)
    for seed in range(10):
        plan = describe(model).random_plan(0.5, Random(seed))
        cut = apply(model, plan)
        cut.set_lambda(0.0)
        true_ms = sum(parameter.numel() for parameter in merge(cut).parameters()) * MS_PER_PARAMETER
        # Two merged FFNs in a row become one linear, which the table counts twice.
        live = [choice for block in describe(model).blocks if (choice := plan.choice_of(block.name)) != "drop"]
        in_a_row = sum(pair == ("merge", "merge") for pair in itertools.pairwise(live))
        linear_ms = 24 * 25 * MS_PER_PARAMETER
        assert found.latency_ms(plan) == pytest.approx(true_ms + in_a_row * linear_ms, rel=1e-9)
        low, high = found.interval_ms(plan)
        assert low <= found.latency_ms(plan) <= high


def test_each_distinct_choice_is_measured_once(found: Profile) -> None:
    assert [(row.choice, row.blocks) for row in found.rows] == [("keep", 3), ("keep", 3), ("merge", 3)]
    assert all(row.origin == "measured" for row in found.rows)


def test_held_out_networks_judge_the_table(found: Profile) -> None:
    held_out = [anchor for anchor in found.anchors if anchor.held_out]
    assert len(found.anchors) == 12
    assert len(held_out) == 4
    assert len({tuple(anchor.choices.items()) for anchor in found.anchors}) == 12
    assert found.relative_error < 1e-9
    assert found.baseline.median_ms == pytest.approx(found.latency_ms(Plan(found.model)))


def test_a_chain_of_one_block_has_a_table_too() -> None:
    found = profile(load_model("deit_digits", depth=1), Null(), max_seconds=0.1)
    assert 3 <= len(found.anchors) <= 6
    assert found.relative_error < 1e-9


def test_a_plan_of_unknown_choices_has_no_latency(found: Profile) -> None:
    with pytest.raises(KeyError, match="no row for 'separable' of blocks"):
        found.latency_ms(Plan(found.model, {"blocks.0.mlp": "separable"}))


def test_pieces_are_compiled_once() -> None:
    compiled: list[nn.Module] = []

    class Counting(Null):
        name = "counting"

        def compile(self, module: nn.Module, example: object) -> float:
            compiled.append(module)
            return 1.0

    bench = Workbench(made("deit", 0), Counting(), batch_size=1)
    for seed in range(5):
        bench.network(bench.chain.random_plan(0.5, Random(seed)))
    assert len(compiled) == 5  # stem, attention, FFN, merged FFN, head
