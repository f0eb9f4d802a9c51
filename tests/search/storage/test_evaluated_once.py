"""No plan is evaluated twice: however a search is stopped, extended, or taken up again under other limits."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import BaseStorage

from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.candidate import SearchResult
from search.limits import LatencyLimit
from search.samplers import known_sampler
from search.search import Stop, search
from search.space import Space
from search.storage.ledger import Ledger, in_memory
from tables import DIGITS


def index_of_blocks() -> dict[str, int]:
    return {block.name: index for index, block in enumerate(DIGITS.chain.blocks)}


NEVER = 10**9


def within(share: float) -> Space:
    return Space.of(DIGITS.chain, [LatencyLimit(DIGITS.table, share * DIGITS.uncut_ms)])


def worth(plan: Plan) -> float:
    cut = sorted(index_of_blocks()[block] for block in plan.choices)
    near = sum(later - earlier == 1 for earlier, later in itertools.pairwise(cut))
    return 1 - 0.01 * sum(1 + index % 5 for index in cut) - 0.013 * near


class Evaluation:
    """Scores plans, and is stopped when it would have scored more than so many in all."""

    def __init__(self) -> None:
        self.asked: list[Plan] = []
        self.stop_at = NEVER

    def __call__(self, plans: Sequence[Plan], bar: float) -> list[Score]:
        if len(self.asked) + len(plans) > self.stop_at:
            raise InterruptedError
        self.asked += plans
        return [Score(worth(plan)) for plan in plans]


@dataclass(frozen=True)
class Step:
    """One call: for so many plans within a share of the baseline, in a part of the study."""

    n_trials: int
    share: float = 0.7
    first: int = 0
    part: str = ""
    sampler: str = "prefix"

    def carried_out(self, storage: BaseStorage, evaluation: Evaluation) -> SearchResult:
        ledger = Ledger(storage, "study", {}, part=self.part, patience_s=0)
        sampler = known_sampler(self.sampler)
        return search(
            within(self.share),
            evaluate=evaluation,
            ledger=ledger,
            sampler=sampler,
            stop=Stop(self.n_trials, gap=-1.0),
            first=min(self.first, self.n_trials),
            peers=4,  # a quarter of what is left of a round at a time, so that it is stopped within rounds too
        )

    def interrupted(self, storage: BaseStorage, evaluation: Evaluation, after: int) -> SearchResult | None:
        """Carried out until so many plans more were scored; None when it was stopped by that."""
        evaluation.stop_at = len(evaluation.asked) + after
        try:
            return self.carried_out(storage, evaluation)
        except InterruptedError:
            return None
        finally:
            evaluation.stop_at = NEVER


STEPS = st.builds(
    Step,
    n_trials=st.integers(1, 34),
    share=st.sampled_from([0.6, 0.65, 0.7]),
    first=st.sampled_from([0, 0, 8, 20]),
    part=st.sampled_from(["", "another"]),
    sampler=st.sampled_from(["prefix", "auto", "random", "exhaustive"]),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(STEPS, st.one_of(st.just(NEVER), st.integers(0, 20))), min_size=2, max_size=6))
def test_whatever_is_asked_of_a_study_no_plan_is_scored_twice(asked: list[tuple[Step, int]]) -> None:
    storage, evaluation = in_memory(), Evaluation()
    for step, after in asked:
        before = len(evaluation.asked)
        result = step.interrupted(storage, evaluation, after)
        new = evaluation.asked[before:]
        assert all(within(step.share).admits(plan) for plan in new), "what was left from other limits is not scored"
        assert max(Counter(evaluation.asked).values(), default=0) <= 1
        if result is not None:
            known = [candidate.plan for candidate in (*result.candidates, *result.others)]
            assert len(known) == len(set(known))
            assert set(new) <= set(known) <= set(evaluation.asked)
            numbers = [candidate.number for candidate in (*result.candidates, *result.others)]
            assert len(numbers) == len(set(numbers))
            if step.first == 0:
                assert len(known) >= step.n_trials


@settings(max_examples=12, deadline=None)
@given(
    st.lists(STEPS, min_size=1, max_size=2),
    STEPS,
    st.lists(st.integers(0, 7), min_size=1, max_size=3),
)
def test_after_whatever_was_there_an_interrupted_search_ends_as_an_undisturbed_one(
    earlier: list[Step], last: Step, stops: list[int]
) -> None:
    whole, parts = Evaluation(), Evaluation()
    undisturbed, disturbed = in_memory(), in_memory()
    for step in earlier:
        step.carried_out(undisturbed, whole)
        step.carried_out(disturbed, parts)
    expected = last.carried_out(undisturbed, whole)
    for after in stops:
        last.interrupted(disturbed, parts, after)
    assert last.carried_out(disturbed, parts) == expected
    assert Counter(parts.asked) == Counter(whole.asked)


@pytest.mark.parametrize(("fewer", "more"), [(8, 64), (20, 64), (30, 45)])
def test_a_search_that_is_extended_has_as_many_different_plans_as_were_asked_for(fewer: int, more: int) -> None:
    storage, evaluation = in_memory(), Evaluation()
    Step(fewer, sampler="auto").carried_out(storage, evaluation)
    assert len(set(evaluation.asked)) == len(evaluation.asked) == fewer
    result = Step(more, sampler="auto").carried_out(storage, evaluation)
    assert len(set(evaluation.asked)) == len(evaluation.asked) == more
    assert {candidate.plan for candidate in result.candidates} == set(evaluation.asked)


def test_another_budget_has_trials_of_its_own_and_knows_what_was_found_before() -> None:
    storage, evaluation = in_memory(), Evaluation()
    Step(24, 0.7, part="0.7").carried_out(storage, evaluation)
    result = Step(24, 0.6, part="0.6").carried_out(storage, evaluation)
    assert len(set(evaluation.asked)) == len(evaluation.asked) == 48
    assert all(within(0.6).admits(plan) for plan in evaluation.asked[24:])
    assert {one.plan for one in result.candidates} == {p for p in evaluation.asked if within(0.6).admits(p)}
    assert {one.plan for one in result.others} == {p for p in evaluation.asked if not within(0.6).admits(p)}


def test_two_that_search_one_study_by_different_limits_at_once_share_what_they_score() -> None:
    storage, lock = in_memory(), threading.Lock()
    asked: Counter[Plan] = Counter()
    results: dict[float, SearchResult] = {}

    def evaluate(plans: Sequence[Plan], bar: float) -> list[Score]:
        with lock:
            asked.update(plans)
        time.sleep(0.002)
        return [Score(worth(plan)) for plan in plans]

    def worker(share: float) -> None:
        results[share] = search(
            within(share),
            evaluate=evaluate,
            ledger=Ledger(storage, "study", {}, patience_s=30),
            sampler=known_sampler("random"),
            stop=Stop(40, gap=-1.0),
            peers=2,
        )

    threads = [threading.Thread(target=worker, args=(share,)) for share in (0.6, 0.62)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert set(results) == {0.6, 0.62}
    assert max(asked.values()) == 1
    assert len(asked) == 40
