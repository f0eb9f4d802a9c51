"""The search on a table that is known exactly and a score that is a formula: every claim can be checked by counting."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency.devices.null import Null
from latency.profiler import profile
from latency.rounds import Reading
from latency.timing import Timings
from networks import made
from profiles.errors import ProfileError
from pruner.chain import Chain
from pruner.plan import Plan
from pruner.surgery import describe
from search.budget import Budget, BudgetUnreachableError
from search.candidate import Candidate, SearchResult
from search.feasible import fastest_plan, feasible_plan
from search.finalists import measure_finalists
from search.search import search

MODEL = made("deit", 0)
CHAIN = describe(MODEL)
TABLE = profile(MODEL, Null(), max_seconds=0.1)
BASELINE_MS = TABLE.latency_ms(Plan(CHAIN.model))
FASTEST_MS = TABLE.latency_ms(fastest_plan(CHAIN, TABLE))


def score(plan: Plan) -> float:
    """Each block is worth something, and two neighbours cut cost more than each alone."""
    cut = [block.name in plan.choices for block in CHAIN.blocks]
    worth = sum(
        (1 + index % 3) * (0.6 if plan.choice_of(b.name) == "merge" else 1) * c
        for index, (b, c) in enumerate(zip(CHAIN.blocks, cut, strict=True))
    )
    return 1 - 0.05 * worth - 0.04 * sum(a and b for a, b in itertools.pairwise(cut))


class Recorder:
    def __init__(self, stop_after: float = math.inf) -> None:
        self.plans: list[Plan] = []
        self.stop_after = stop_after

    def __call__(self, plans: Sequence[Plan]) -> list[float]:
        if len(self.plans) >= self.stop_after:
            raise InterruptedError
        self.plans += plans
        return [score(plan) for plan in plans]


def every_plan(chain: Chain) -> list[Plan]:
    names = [block.name for block in chain.blocks]
    ways = itertools.product(*(block.choices for block in chain.blocks))
    return [chain.plan(dict(zip(names, way, strict=True))) for way in ways]


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.7, 0.9])
def test_only_plans_that_fit_are_evaluated_and_none_twice(ratio: float) -> None:
    recorder = Recorder()
    budget = Budget(ratio * BASELINE_MS)
    result = search(CHAIN, TABLE, budget=budget, evaluate=recorder, n_trials=40)
    assert all(TABLE.latency_ms(plan) <= budget.latency_ms for plan in recorder.plans)
    assert len(set(recorder.plans)) == len(recorder.plans) == result.num_evaluations
    assert result.best.score == max(score(plan) for plan in recorder.plans)
    assert [c.score for c in result.candidates] == sorted((c.score for c in result.candidates), reverse=True)


def test_a_small_space_is_searched_to_the_optimum() -> None:
    budget = Budget(0.6 * BASELINE_MS)
    optimum = max(score(plan) for plan in every_plan(CHAIN) if budget.admits(TABLE, plan))
    result = search(CHAIN, TABLE, budget=budget, evaluate=Recorder(), n_trials=CHAIN.num_plans)
    assert result.best.score == pytest.approx(optimum)
    assert result.num_evaluations < CHAIN.num_plans, "plans that waste some of the budget need no evaluation"


@pytest.mark.parametrize("stop_after", [1, 7, 19])
def test_a_search_that_was_interrupted_finds_what_it_would_have_found(tmp_path: Path, stop_after: int) -> None:
    chain, table = describe(made("digits", 0)), profile(made("digits", 0), Null(), max_seconds=0.1)
    budget = Budget(0.6 * table.latency_ms(Plan(chain.model)))
    whole, first, second = Recorder(), Recorder(stop_after), Recorder()
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    expected = search(chain, table, budget=budget, evaluate=whole, n_trials=24, seed=5)
    with pytest.raises(InterruptedError):
        search(chain, table, budget=budget, evaluate=first, n_trials=24, seed=5, storage=storage)
    result = search(chain, table, budget=budget, evaluate=second, n_trials=24, seed=5, storage=storage)
    assert expected.num_evaluations == 24
    assert first.plans + second.plans == whole.plans
    assert result == expected


def test_seeds_lead_to_different_searches() -> None:
    first, second = Recorder(), Recorder()
    for seed, recorder in enumerate((first, second)):
        search(CHAIN, TABLE, budget=Budget(0.6 * BASELINE_MS), evaluate=recorder, n_trials=5, seed=seed)
    assert first.plans != second.plans


def test_a_budget_below_the_fastest_plan_is_refused_before_anything_is_run() -> None:
    recorder = Recorder()
    with pytest.raises(BudgetUnreachableError, match=f"takes {FASTEST_MS:.3f} ms"):
        search(CHAIN, TABLE, budget=Budget(0.99 * FASTEST_MS), evaluate=recorder)
    assert recorder.plans == []


@settings(max_examples=60, deadline=None)
@given(st.floats(min_value=FASTEST_MS, max_value=1.2 * BASELINE_MS), st.integers(0, 10**6))
def test_any_wish_becomes_a_plan_that_fits_and_wastes_nothing(budget_ms: float, seed: int) -> None:
    random = Random(seed)
    wished = {block.name: random.choice(block.choices) for block in CHAIN.blocks}
    budget = Budget(budget_ms)
    plan = feasible_plan(CHAIN, TABLE, budget, wished, random)
    assert TABLE.latency_ms(plan) <= budget_ms
    for block in plan.choices:
        kept = CHAIN.plan({**plan.choices, block: "keep"})
        assert TABLE.latency_ms(kept) > budget_ms, "a cut that the budget does not need"


@pytest.mark.parametrize("figure", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_is_a_positive_number(figure: float) -> None:
    with pytest.raises(ValueError, match="positive number"):
        Budget(figure)


def ranked(*latencies_ms: float) -> SearchResult:
    """Candidates in falling score, told apart by how many blocks they cut."""
    names = [block.name for block in CHAIN.blocks]
    plans = [CHAIN.plan(dict.fromkeys(names[: index + 1], "drop")) for index in range(len(latencies_ms))]
    return SearchResult(
        tuple(Candidate(p, 1 - 0.1 * i, ms) for i, (p, ms) in enumerate(zip(plans, latencies_ms, strict=True)))
    )


class Machine:
    """Times plans by how many blocks they cut, with a spread."""

    def __init__(self, baseline_ms: float, ms: dict[int, float], spread: float = 0.0) -> None:
        self.ms, self.spread, self.groups = {0: baseline_ms, **ms}, spread, 0

    def __call__(self, plans: dict[str, Plan]) -> Timings:
        self.groups += 1
        random = Random(0)
        return Timings(
            {
                name: [
                    [Reading(self.ms[len(plan.choices)] * (1 + self.spread * random.uniform(-1, 1)), 0.0)]
                    for _ in range(30)
                ]
                for name, plan in plans.items()
            }
        )


def test_the_best_candidate_that_measures_within_the_budget_wins() -> None:
    machine = Machine(10.0, {1: 7.3, 2: 6.9, 3: 5.0})
    finalists = measure_finalists(ranked(7.0, 6.9, 5.0), Budget(7.0), machine)
    assert len(finalists[0].candidate.plan.choices) == 2
    assert [finalist.fits for finalist in finalists] == [True, True, False]
    assert machine.groups == 1


def test_a_ratio_is_judged_beside_the_baseline_as_it_is_now() -> None:
    slow = Machine(20.0, {1: 13.9})
    assert measure_finalists(ranked(7.0), Budget(7.0, ratio=0.7), slow)[0].fits
    with pytest.raises(BudgetUnreachableError, match=r"the fastest took 13\.900 ms, 0\.695 of the baseline"):
        measure_finalists(ranked(7.0), Budget(7.0), slow)


def test_noise_that_straddles_the_budget_leaves_the_plan_to_a_safer_one() -> None:
    machine = Machine(10.0, {1: 7.6, 2: 6.0}, spread=0.2)
    finalists = measure_finalists(ranked(6.9, 6.0), Budget(7.0), machine)
    assert len(finalists[0].candidate.plan.choices) == 2
    assert not finalists[1].fits
    assert finalists[1].measured.latency_ms < 7.0 < finalists[1].measured.high_ms


def test_a_margin_is_kept_below_the_budget() -> None:
    machine = Machine(10.0, {1: 6.95, 2: 6.7})
    winner, passed_over = measure_finalists(ranked(6.9, 6.6), Budget(7.0), machine, margin=0.02)
    assert [len(finalist.candidate.plan.choices) for finalist in (winner, passed_over)] == [2, 1]
    assert measure_finalists(ranked(6.9, 6.6), Budget(7.0), machine)[0].candidate.score == 1.0


def test_a_tightened_budget_is_less_in_both_its_figures() -> None:
    assert Budget(8.0, ratio=0.5).tightened(0.25) == Budget(6.0, ratio=0.375)
    assert Budget(8.0).tightened(0.25) == Budget(6.0)


def test_later_candidates_are_measured_only_when_none_before_them_fits() -> None:
    machine = Machine(10.0, {1: 8.0, 2: 8.0, 3: 8.0, 4: 8.0, 5: 6.0})
    finalists = measure_finalists(
        ranked(7.0, 7.0, 7.0, 7.0, 7.0, 7.0), Budget(7.0), Machine(10.0, machine.ms | {6: 5.0})
    )
    assert len(finalists[0].candidate.plan.choices) == 5
    assert len(finalists) == 6


def test_another_chains_profile_is_refused() -> None:
    with pytest.raises(ProfileError, match="was measured for another network"):
        search(describe(made("odd width", 0)), TABLE, budget=Budget(1.0), evaluate=Recorder())
