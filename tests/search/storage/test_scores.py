"""What is no score enters no study, and a study that holds such a thing from before can be gone on with."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

import depthfinder as df
from postgres import Postgres
from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.errors import NothingFoundError, ScoreError
from search.limits import LatencyLimit
from search.samplers import known_sampler
from search.search import Evaluate, Stop, search
from search.space import Space
from search.storage.ledger import Ledger, in_memory
from search.storage.opening import open_storage
from search.storage.scores import LARGEST
from tables import DIGITS


def budget_ms() -> float:
    return 0.7 * DIGITS.table.latency_ms(Plan(DIGITS.chain.model))


def a_space() -> Space:
    return Space.of(DIGITS.chain, [LatencyLimit(DIGITS.table, budget_ms())])


TRIALS = 16


def bad_block() -> str:
    return DIGITS.chain.blocks[3].name


def index_of_blocks() -> dict[str, int]:
    return {block.name: index for index, block in enumerate(DIGITS.chain.blocks)}


FAILED = -math.inf

Open = Callable[[], BaseStorage]


@pytest.fixture(
    params=["memory", *(pytest.param(one, marks=pytest.mark.grid) for one in ("sqlite", "journal")), "postgresql"]
)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens one storage, as a process of its own would."""
    if request.param == "memory":
        memory = in_memory()
        return lambda: memory
    url = f"{request.param}:///{tmp_path}/study"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new_database()
    return lambda: open_storage(url)


def worth(plan: Plan) -> float:
    return 1 - 0.01 * sum(1 + index_of_blocks()[block] % 5 for block in plan.choices)


class Recorder:
    """Scores plans by `worth`, and those that cut a certain block as it is told to."""

    def __init__(self, bad: float | None = None) -> None:
        self.bad = bad
        self.asked: list[Plan] = []

    def __call__(self, plans: Sequence[Plan], bar: float = 0.0) -> list[Score | float]:
        self.asked += plans
        return [worth(plan) if self.bad is None or bad_block() not in plan.choices else self.bad for plan in plans]


def searched(evaluate: Evaluate, storage: BaseStorage, sampler: str = "auto", stop: Stop | None = None):  # type: ignore[no-untyped-def]
    ledger = Ledger(storage, "study", {}, patience_s=0)
    return search(
        a_space(), evaluate=evaluate, ledger=ledger, sampler=known_sampler(sampler), stop=stop or Stop(TRIALS, gap=-1.0)
    )


@cache
def undisturbed():  # type: ignore[no-untyped-def]
    """What a search finds that nothing happens to."""
    return searched(Recorder(), in_memory())


@pytest.mark.parametrize(
    "value",
    [math.nan, 2 * LARGEST, *(pytest.param(value, marks=pytest.mark.grid) for value in (math.inf, -2 * LARGEST))],
)
def test_what_is_no_score_is_refused_by_the_plans_name_and_costs_nothing_else(opened: Open, value: float) -> None:
    first, second = Recorder(value), Recorder()
    with pytest.raises(ScoreError) as caught:
        searched(first, opened())
    message = str(caught.value)
    bad = next(plan for plan in first.asked if bad_block() in plan.choices)
    assert str(value) in message
    assert message.endswith(f"the plan with {bad.text}")
    assert len(message.splitlines()) == 1
    expected = undisturbed()
    result = searched(second, opened())
    assert result == expected
    # What was healthy beside it is not evaluated again.
    healthy = [plan for plan in first.asked if bad_block() not in plan.choices]
    assert healthy
    assert not set(healthy) & set(second.asked)
    assert len(second.asked) == TRIALS - len(healthy)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_study_that_holds_what_is_no_score_is_gone_on_with(
    opened: Open, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    """As versions before this one left it: entered like any other score."""
    expected = undisturbed()
    storage = opened()
    ledger = Ledger(storage, "study", {}, patience_s=0)
    searched(Recorder(), storage, stop=Stop(TRIALS, gap=-1.0, timeout_s=0))
    first_round = [replace(one, score=None) for one in _planned_first()]
    ledger.plan(a_space(), first_round)
    study = storage.get_study_id_from_name("study")
    bad = first_round[1].plan
    for trial in storage.get_all_trials(study):
        if trial.state == TrialState.WAITING:
            plan = Plan.from_json(trial.user_attrs["plan"])
            storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
            storage.set_trial_state_values(
                trial._trial_id, TrialState.COMPLETE, [value if plan == bad else worth(plan)]
            )
    caplog.clear()
    recorder = Recorder()
    with caplog.at_level(logging.WARNING):
        result = searched(recorder, opened())
    assert result == expected
    assert recorder.asked.count(bad) == 1
    assert len(recorder.asked) == TRIALS - len(first_round) + 1
    assert sum("1 plans whose evaluation came to no" in message for message in caplog.messages) == 1
    caplog.clear()
    assert searched(recorder, opened()) == expected
    assert not caplog.messages, "once evaluated again, nothing is left to tell"


def _planned_first():  # type: ignore[no-untyped-def]
    """The entries of a search's first round."""
    ledger = Ledger(in_memory(), "study", {}, patience_s=0)
    stop = Stop(TRIALS, gap=-1.0)
    count = known_sampler("auto").opening(a_space(), TRIALS)
    search(a_space(), evaluate=Recorder(), ledger=ledger, sampler=known_sampler("auto"), stop=stop)
    return ledger.entries()[:count]


@pytest.mark.parametrize("sampler", ["auto", "prefix", "tpe", "gp", "nsga2", "random", "exhaustive"])
def test_a_plan_that_failed_counts_as_worse_than_all_others(sampler: str) -> None:
    recorder = Recorder(FAILED)
    result = searched(recorder, in_memory(), sampler, Stop(14, gap=-1.0))
    assert len(recorder.asked) == len(set(recorder.asked)) == 14
    failed = [candidate for candidate in result.candidates if bad_block() in candidate.plan.choices]
    assert failed
    assert all(candidate.score == FAILED for candidate in failed)
    assert list(result.candidates[-len(failed) :]) == failed
    assert result.best.score == max(worth(plan) for plan in recorder.asked if bad_block() not in plan.choices)
    assert result.gap is None or math.isfinite(result.gap)


def test_that_a_plan_failed_is_kept(opened: Open) -> None:
    searched(Recorder(FAILED), opened())
    again = Recorder()
    assert FAILED in [candidate.score for candidate in searched(again, opened()).candidates]
    assert again.asked == []


def test_where_every_plan_failed_none_is_the_best() -> None:
    result = searched(lambda plans, bar: [FAILED] * len(plans), in_memory(), stop=Stop(6))
    with pytest.raises(NothingFoundError, match="all 6 plans within the limits failed"):
        _ = result.best


def test_where_there_was_no_time_none_is_the_best() -> None:
    result = searched(Recorder(), in_memory(), stop=Stop(6, timeout_s=0))
    with pytest.raises(NothingFoundError, match=r"no plan within the limits was evaluated \(the time is up\)"):
        _ = result.best


@pytest.mark.parametrize("more", [-1, 1])
def test_another_number_of_scores_than_of_plans_is_refused(more: int) -> None:
    storage = in_memory()
    asked = known_sampler("auto").opening(a_space(), TRIALS)
    with pytest.raises(ScoreError, match=f"^{asked} plans were evaluated to {asked + more} scores: give one for each"):
        searched(lambda plans, bar: [0.5] * (len(plans) + more), storage)
    assert Ledger(storage, "study", {}, patience_s=0).entries() == []


@pytest.mark.parametrize("found", [None, "high", [0.5]])
def test_what_is_no_number_is_refused(found: object) -> None:
    with pytest.raises(ScoreError, match="a plan was evaluated to "):
        searched(lambda plans, bar: [found] * len(plans), in_memory())  # type: ignore[list-item]


@pytest.mark.parametrize("size", [LARGEST, 1e-300])
def test_scores_may_be_large_or_small(size: float) -> None:
    result = searched(lambda plans, bar: [size * worth(plan) for plan in plans], in_memory())
    assert math.isfinite(result.best.score)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"n_trials": 0}, "a search of 0 plans finds nothing: allow at least one"),
        ({"gap": math.nan}, "the gap to stop at is nan"),
        ({"timeout": math.nan}, "the time for a search is nan"),
        ({"timeout": -1.0}, "the time for a search is -1.0"),
    ],
)
def test_what_a_search_cannot_end_by_is_refused_at_the_door(limits: dict[str, float], message: str) -> None:
    recorder = Recorder()
    with pytest.raises(ValueError, match=message):
        df.search(DIGITS.chain, DIGITS.table, budget_ms=budget_ms(), evaluate=recorder, **limits)  # type: ignore[arg-type]
    assert recorder.asked == []
