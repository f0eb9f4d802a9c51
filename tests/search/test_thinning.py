"""Searching where tokens may be thinned: behind it all is cheaper, a cut there saves less, and once is enough."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from latency.devices.null import Null
from latency.profiler import profile
from profiles.profile import Profile
from profiles.walk import thinned, unthinned
from pruner.choices.chain import Chain
from pruner.choices.choice import KEEP, THIN
from pruner.choices.plan import Plan
from pruner.errors import PlanError
from pruner.gates.gated import GatedSupernet
from pruner.gates.latency_gates import KNAPSACK
from pruner.models.load import load_model
from pruner.network.surgery import describe
from search.errors import BudgetUnreachableError
from search.feasible import check_reachable, every_plan, solved_plan
from search.gate_costs import gate_costs
from search.limits import LatencyLimit
from search.samplers import known_sampler
from search.space import Space

ALSO = ("narrow", "thin")


@cache
def model() -> nn.Module:
    return load_model("deit_digits", depth=2)


@cache
def chain() -> Chain:
    return describe(model(), ALSO)


@cache
def table() -> Profile:
    """What runs on fewer tokens takes 0.6 of the time, and thinning 0.3 of an attention more than that."""
    found = profile(model(), Null(), max_seconds=0.1, extra_choices=ALSO)
    rows = []
    for row in found.rows:
        factor = 0.6 if unthinned(row.choice) != row.choice else 1.3 if row.choice == THIN else 1.0
        rows.append(dataclasses.replace(row, in_context_ms=factor * row.in_context_ms))
    return dataclasses.replace(found, rows=tuple(rows), anchors=())


def uncut_ms() -> float:
    return table().latency_ms(Plan(chain().model))


def space(share: float, only: tuple[str, ...] | None = None) -> Space:
    return Space.of(chain(), [LatencyLimit(table(), share * uncut_ms())], only=only)


def test_what_thinning_saves_is_saved_in_the_block_and_in_all_behind_it() -> None:
    attention, ffn = (table().block_ms(f"blocks.1.{kind}", KEEP) for kind in ("attn", "mlp"))
    head = table().block_ms("head", KEEP)
    limit = LatencyLimit(table(), uncut_ms())
    assert limit.saved("blocks.1.attn", THIN) == pytest.approx(-0.3 * attention + 0.4 * (ffn + head))
    assert limit.saved("blocks.0.attn", THIN) == pytest.approx(-0.3 * attention + 0.4 * (attention + 2 * ffn + head))
    assert limit.saved("blocks.1.attn", "narrow") == attention - table().block_ms("blocks.1.attn", "narrow")


def test_behind_a_thinned_block_everything_is_cheaper_and_a_second_one_is_kept() -> None:
    first, second = Plan(chain().model, {"blocks.0.attn": THIN}), Plan(chain().model, {"blocks.1.attn": THIN})
    both = Plan(chain().model, {**first.choices, **second.choices})
    assert table().latency_ms(first) < table().latency_ms(second) < uncut_ms()
    assert table().costs_ms(both) == table().costs_ms(first)
    dropped = Plan(chain().model, {**first.choices, "blocks.1.attn": "drop"})
    saved = table().latency_ms(first) - table().latency_ms(dropped)
    assert saved == pytest.approx(table().block_ms("blocks.1.attn", thinned(KEEP)))
    assert saved == pytest.approx(0.6 * table().block_ms("blocks.1.attn", KEEP))


def test_no_plan_of_a_space_thins_twice() -> None:
    plans = list(every_plan(space(2.0)))
    assert len(plans) == len({chain().normalised(plan) for plan in plans}) == chain().num_plans - 9
    assert all(list(plan.choices.values()).count(THIN) <= 1 for plan in plans)


@pytest.mark.parametrize("only", [None, ("narrow", "thin"), ("thin",), ("drop", "thin")])
def test_a_budget_is_reachable_if_any_plan_is_within_it(only: tuple[str, ...] | None) -> None:
    fastest = min(table().latency_ms(plan) for plan in every_plan(space(2.0, only))) / uncut_ms()
    check_reachable(space(fastest * (1 + 1e-12), only))
    with pytest.raises(BudgetUnreachableError, match=f"takes {fastest * uncut_ms():.3f} ms"):
        check_reachable(space(fastest * (1 - 1e-9), only))


def test_the_solver_finds_the_best_plan_nearly_always_and_always_one_within_the_budget() -> None:
    plans = list(every_plan(space(2.0)))
    latencies = np.array([table().latency_ms(plan) for plan in plans])
    vectors = np.array([space(2.0).vector(plan) for plan in plans])
    random, best = np.random.default_rng(0), []
    for share in np.linspace(float(latencies.min()) / uncut_ms() + 1e-6, 0.99, 25):
        within = space(float(share))
        gains = -random.uniform(0, 1, len(within.cuts))
        found = solved_plan(within, gains)
        assert found is not None
        assert within.admits(found)
        optimum = (vectors @ gains)[latencies <= within.limits[0].bound].max()
        best.append(within.vector(found) @ gains >= optimum - 1e-9)
    assert np.mean(best) >= 0.8


@pytest.mark.parametrize("name", ["auto", "prefix", "random", "nsga2"])
def test_samplers_propose_plans_that_fit_and_some_that_thin(name: str) -> None:
    within = space(0.7)
    proposed = [one.plan for one in known_sampler(name).propose(within, [], 5, 12, seed=0).proposals]
    assert proposed
    assert all(within.admits(plan) for plan in proposed)
    assert any(THIN in plan.choices.values() for plan in proposed)


def test_an_unknown_choice_is_refused_with_those_that_are_offered_and_those_on_request() -> None:
    with pytest.raises(PlanError, match="'thick'; there are: drop, keep, merge; on request: fit, merge-act, narrow"):
        Space.of(describe(model()), [], only=["merge", "thick"])
    with pytest.raises(PlanError, match="there are: drop, keep, merge, narrow, thin; on request: fit, merge-act"):
        Space.of(chain(), [], only=["thick"])


def test_a_gate_does_not_choose_whether_tokens_are_thinned() -> None:
    costs = gate_costs(space(0.8))
    offered = {choice for saved in costs.saved_ms.values() for choice in saved}
    assert {KEEP, "narrow", "drop", "merge"} == offered
    network = GatedSupernet(model(), costs, ALSO).eval()
    gates = network.gates(KNAPSACK, costs.needed_ms, 0.5)
    network.mix(gates)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network(images).square().sum().backward()
    gradient = network.masks["scores"].grad
    assert gradient is not None
    assert float(gradient[0].abs().max()) > 0  # the first attention, which may be narrow
