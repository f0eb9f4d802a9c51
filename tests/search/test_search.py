"""The search on a table that is known exactly and a score that is a formula: every claim can be checked by counting."""

import dataclasses
import itertools
import json
import math
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from optuna.storages import BaseStorage

from profiles.profile import Profile
from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.candidate import SearchResult
from search.errors import BudgetUnreachableError
from search.limits import LatencyLimit
from search.samplers import known_sampler
from search.search import Evaluate, Stop, search
from search.space import Space
from search.storage.ledger import Ledger, in_memory
from search.storage.opening import open_storage
from tables import DIGITS

PLANS = [
    DIGITS.chain.plan(dict(zip([block.name for block in DIGITS.chain.blocks], way, strict=True)))
    for way in itertools.product(*(block.choices for block in DIGITS.chain.blocks))
]
NO_GAP = -1.0


def score(plan: Plan) -> float:
    """Each block is worth something, and two neighbours cut cost more than each alone."""
    cut = [block.name in plan.choices for block in DIGITS.chain.blocks]
    worth = sum(
        (1 + index % 3) * (0.6 if plan.choice_of(b.name) == "merge" else 1) * c
        for index, (b, c) in enumerate(zip(DIGITS.chain.blocks, cut, strict=True))
    )
    return 1 - 0.03 * worth - 0.02 * sum(a and b for a, b in itertools.pairwise(cut))


class Recorder:
    """Scores plans and remembers them; raises when it is asked for more than `stop_after`."""

    def __init__(self, stop_after: float = math.inf) -> None:
        self.plans: list[Plan] = []
        self.bars: list[float] = []
        self.stop_after = stop_after

    def __call__(self, plans: Sequence[Plan], bar: float) -> list[Score]:
        if len(self.plans) + len(plans) > self.stop_after:
            raise InterruptedError
        self.plans += plans
        self.bars += [bar] * len(plans)
        return [Score(score(plan), accuracy=score(plan) / 3) for plan in plans]


def within(share: float) -> Space:
    return Space.of(DIGITS.chain, [LatencyLimit(DIGITS.table, share * DIGITS.uncut_ms)])


def searched(
    space: Space,
    evaluate: Evaluate,
    n_trials: int,
    *,
    sampler: str = "auto",
    storage: BaseStorage | None = None,
    gap: float = NO_GAP,
    timeout_s: float | None = None,
    first: int = 0,
    seed: int = 0,
) -> SearchResult:
    return search(
        space,
        evaluate=evaluate,
        ledger=Ledger(storage or in_memory(), "study", {}, patience_s=0),
        sampler=known_sampler(sampler),
        stop=Stop(n_trials, gap, timeout_s),
        first=first,
        seed=seed,
    )


@pytest.mark.parametrize("sampler", ["auto", "random", "tpe"])
@pytest.mark.parametrize("share", [0.6])
def test_as_many_plans_are_evaluated_as_were_asked_for_and_none_twice(share: float, sampler: str) -> None:
    recorder = Recorder()
    space = within(share)
    result = searched(space, recorder, 15, sampler=sampler)
    assert result.num_evaluations == len(recorder.plans) == 15
    assert len(set(recorder.plans)) == 15
    assert all(space.admits(plan) for plan in recorder.plans)
    assert {candidate.plan for candidate in result.candidates} == set(recorder.plans)
    assert (result.num_evaluations, result.stopped) == (15, "there were to be no more")


def test_candidates_come_best_first_with_all_that_is_known_of_them() -> None:
    recorder = Recorder()
    result = searched(within(0.6), recorder, 20)
    assert [(-c.score, c.latency_ms) for c in result.candidates] == sorted(
        (-score(plan), DIGITS.table.latency_ms(plan)) for plan in recorder.plans
    )
    for candidate in result.candidates:
        assert recorder.plans[candidate.number] == candidate.plan
        assert candidate.details == Score(score(candidate.plan), accuracy=score(candidate.plan) / 3)
        assert candidate.how in {"random", "solver", "draw", "flip"}
    assert result.best is result.candidates[0]


def test_the_front_is_what_no_faster_plan_equals() -> None:
    result = searched(within(0.8), Recorder(), 30)
    for candidate in result.candidates:
        beaten = any(
            other.latency_ms <= candidate.latency_ms and other.score >= candidate.score and other is not candidate
            for other in result.candidates
        )
        assert (candidate in result.front) == (not beaten) or candidate.score in {c.score for c in result.front}
    scores = [candidate.score for candidate in result.front]
    assert scores == sorted(set(scores))
    assert result.best.score == scores[-1]


@pytest.mark.parametrize("share", [0.6, 0.8])
def test_a_small_space_is_searched_to_the_optimum(share: float) -> None:
    space = within(share)
    optimum = max(score(plan) for plan in PLANS if space.admits(plan))
    assert searched(space, Recorder(), 40).best.score == pytest.approx(optimum)


def crooked(seed: int) -> Profile:
    """A table whose costs have no short binary fraction."""
    random = Random(seed)
    rows = tuple(dataclasses.replace(row, in_context_ms=random.uniform(0.1, 10) / 3) for row in DIGITS.table.rows)
    return dataclasses.replace(DIGITS.table, rows=rows)


def test_no_winner_exceeds_its_budget_by_however_little() -> None:
    """Budgets at random, and such as are a plan's own latency to the last bit, or one float below it."""
    random = Random(0)
    found = 0
    for number in range(80):
        table = crooked(number)
        latency_ms = table.latency_ms(random.choice(PLANS))
        budget_ms = random.choice([latency_ms, math.nextafter(latency_ms, 0), latency_ms * random.uniform(1, 1.2)])
        space = Space.of(DIGITS.chain, [LatencyLimit(table, budget_ms)])
        try:
            result = searched(space, Recorder(), 2, sampler="random", seed=number)
        except BudgetUnreachableError:
            assert not any(space.admits(plan) for plan in PLANS)
            continue
        for candidate in result.candidates:
            assert sum(map(Fraction, table.costs_ms(candidate.plan))) <= Fraction(budget_ms)
        assert not result.others
        found += bool(result.candidates)
    assert found > 60


@pytest.mark.parametrize("stop_after", [0, 4, 12])
def test_a_search_that_was_interrupted_finds_what_it_would_have_found(tmp_path: Path, stop_after: int) -> None:
    whole, first, second = Recorder(), Recorder(stop_after), Recorder()
    url = f"sqlite:///{tmp_path / 'study.db'}"
    expected = searched(within(0.6), whole, 16, seed=5)
    with pytest.raises(InterruptedError):
        searched(within(0.6), first, 16, seed=5, storage=open_storage(url))
    result = searched(within(0.6), second, 16, seed=5, storage=open_storage(url))
    assert expected.num_evaluations == 16
    assert first.plans + second.plans == whole.plans
    assert first.bars + second.bars == whole.bars
    assert result == expected


def test_a_search_that_is_over_is_not_done_again() -> None:
    storage, again = in_memory(), Recorder()
    expected = searched(within(0.6), Recorder(), 20, storage=storage)
    assert searched(within(0.6), again, 20, storage=storage) == expected
    assert again.plans == []


def test_more_trials_go_on_where_fewer_ended() -> None:
    storage, whole, more = in_memory(), Recorder(), Recorder()
    searched(within(0.6), whole, 30, sampler="random")  # whose rounds do not depend on how many there will be
    fewer = searched(within(0.6), Recorder(), 18, sampler="random", storage=storage)
    searched(within(0.6), more, 30, sampler="random", storage=storage)
    assert [candidate.plan for candidate in sorted(fewer.candidates, key=lambda c: c.number)] == whole.plans[:18]
    assert more.plans == whole.plans[18:]


def test_a_second_search_learns_from_the_first_and_repeats_nothing() -> None:
    storage, before, after = in_memory(), Recorder(), Recorder()
    searched(within(0.6), before, 20, storage=storage)
    result = searched(within(0.5), after, 26, first=20, storage=storage)
    assert len(after.plans) == 6
    assert not set(before.plans) & set(after.plans)
    assert all(within(0.5).admits(plan) for plan in after.plans)
    assert result.num_evaluations == 26
    assert all(candidate.fits == within(0.5).admits(candidate.plan) for candidate in result.candidates + result.others)


def test_seeds_lead_to_different_searches() -> None:
    first, second, third = Recorder(), Recorder(), Recorder()
    for seed, recorder in ((0, first), (1, second), (0, third)):
        searched(within(0.6), recorder, 9, seed=seed)
    assert first.plans != second.plans
    assert first.plans == third.plans


def test_a_budget_below_the_fastest_plan_is_refused_before_anything_is_run() -> None:
    recorder = Recorder()
    fastest_ms = min(DIGITS.table.latency_ms(plan) for plan in PLANS)
    with pytest.raises(BudgetUnreachableError, match=f"takes {fastest_ms:.3f} ms"):
        searched(within(0.99 * fastest_ms / DIGITS.uncut_ms), recorder, 10)
    assert recorder.plans == []


class Racer(Recorder):
    """Drops a plan that is below the bar when it has seen enough: its score is then one that is below the bar too."""

    def __call__(self, plans: Sequence[Plan], bar: float) -> list[Score]:
        whole = super().__call__(plans, bar)
        return [one if one.value >= bar else Score(min(one.value, bar - 0.05), images=1) for one in whole]


@pytest.mark.parametrize("sampler", ["auto", "random"])
def test_what_is_dropped_could_not_have_won(sampler: str) -> None:
    racer = Racer()
    result = searched(within(0.6), racer, 40, sampler=sampler)
    dropped = [plan for plan, bar in zip(racer.plans, racer.bars, strict=True) if score(plan) < bar]
    assert len(dropped) > 5
    best = sorted(map(score, racer.plans), reverse=True)[:8]
    assert [candidate.score for candidate in result.candidates[:8]] == pytest.approx(best)
    assert not {candidate.plan for candidate in result.candidates[:8]} & set(dropped)


def test_the_bar_is_the_eighth_best_so_far_and_never_falls() -> None:
    recorder = Recorder()
    space = within(0.6)
    searched(space, recorder, 40)
    assert recorder.bars == sorted(recorder.bars)
    for index, bar in enumerate(recorder.bars):
        scores = sorted((score(plan) for plan in recorder.plans[:index] if space.admits(plan)), reverse=True)
        assert bar == -math.inf or bar <= scores[7]
    assert recorder.bars[0] == -math.inf
    assert recorder.bars[-1] > -math.inf


def test_time_ends_a_search_with_what_it_has() -> None:
    recorder = Recorder()

    def slow(plans: Sequence[Plan], bar: float) -> list[Score]:
        time.sleep(0.2)
        return recorder(plans, bar)

    result = searched(within(0.6), slow, 100, sampler="random", timeout_s=1.0)
    assert 1 <= result.num_evaluations < 100
    assert result.num_evaluations == len(recorder.plans)
    assert result.stopped == "the time is up"


def test_a_search_that_ran_out_of_time_can_be_taken_up_again() -> None:
    storage, first, second, whole = in_memory(), Recorder(), Recorder(), Recorder()
    expected = searched(within(0.6), whole, 28)
    searched(within(0.6), first, 28, storage=storage, timeout_s=0.0)
    assert first.plans == []
    assert searched(within(0.6), second, 28, storage=storage) == expected
    assert first.plans + second.plans == whole.plans


def test_what_was_left_when_time_was_up_is_not_evaluated_a_second_time() -> None:
    """A search of several that is cut short leaves plans that wait; the one that goes on from there finds them."""
    storage, recorder = in_memory(), Recorder()
    space = Space.of(DIGITS.chain, [LatencyLimit(DIGITS.table, 0.7 * DIGITS.uncut_ms)], keep=["blocks.0", "blocks.1"])

    def slow(plans: Sequence[Plan], bar: float) -> list[Score]:
        time.sleep(0.1)
        return recorder(plans, bar)

    ledger, asked = Ledger(storage, "study", {}, patience_s=0), known_sampler("exhaustive")
    search(space, evaluate=slow, ledger=ledger, sampler=asked, stop=Stop(4, NO_GAP, 0.05), peers=4)
    assert 1 <= len(recorder.plans) < 4
    searched(space, recorder, 20, sampler="exhaustive", storage=storage, first=4)
    assert len(set(recorder.plans)) == len(recorder.plans)


def test_a_search_ends_when_nothing_much_better_is_held_possible() -> None:
    recorder = Recorder()
    result = searched(within(0.6), recorder, 100, gap=0.02)
    optimum = max(score(plan) for plan in PLANS if within(0.6).admits(plan))
    assert result.gap is not None
    assert optimum / result.best.score - 1 <= result.gap <= 0.02
    assert result.num_evaluations == len(recorder.plans) < 100
    assert result.stopped == f"no plan left is held to be better by more than {result.gap:.2%}"


def test_a_wider_gap_ends_a_search_earlier() -> None:
    counts = [searched(within(0.6), Recorder(), 40, gap=gap).num_evaluations for gap in (0.5, 0.02, NO_GAP)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 40


def test_a_space_that_was_gone_through_leaves_no_gap() -> None:
    recorder = Recorder()
    space = Space.of(DIGITS.chain, [LatencyLimit(DIGITS.table, 0.7 * DIGITS.uncut_ms)], keep=["blocks.0", "blocks.1"])
    result = searched(space, recorder, 100, sampler="exhaustive")
    assert len(set(recorder.plans)) == len(recorder.plans) > 10
    assert set(recorder.plans) == {plan for plan in PLANS if space.admits(plan)}
    assert result.gap == 0.0
    assert result.stopped == "hardly a plan is left that was not evaluated"


def test_scores_below_nought_are_scores_like_others() -> None:
    recorder = Recorder()

    def evaluate(plans: Sequence[Plan], bar: float) -> list[Score]:
        return [Score(one.value - 2) for one in recorder(plans, bar + 2)]

    optimum = max(score(plan) for plan in PLANS if within(0.6).admits(plan))
    assert searched(within(0.6), evaluate, 60, gap=0.001).best.score == pytest.approx(optimum - 2)


def test_progress_is_told() -> None:
    told: list[tuple[int, int, str]] = []
    search(
        within(0.6),
        evaluate=Recorder(),
        ledger=Ledger(in_memory(), "study", {}, patience_s=0),
        sampler=known_sampler("auto"),
        stop=Stop(45, NO_GAP),
        progress=lambda done, total, words: told.append((done, total, words)),
    )
    assert [total for _, total, _ in told] == [45] * len(told)
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1][0] == 45
    assert told[-1][2].startswith("best 0.")


def test_a_result_is_plain_figures() -> None:
    result = searched(within(0.6), Recorder(), 9)
    records = [dataclasses.asdict(dataclasses.replace(one, plan=None)) for one in result.candidates]  # type: ignore[arg-type]
    assert json.loads(json.dumps(records)) == records
