"""The ledger of a study: each slot is evaluated once, whoever dies, is slow or comes too late."""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.storages import BaseStorage

from pruner.choices.chain import Block, Chain
from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.errors import StudyMismatchError
from search.limits import SizeLimit
from search.space import Space
from search.storage.ledger import Entry, Ledger, Proposal, in_memory
from search.storage.opening import open_storage

BLOCKS = tuple(Block(f"blocks.{i}", "ffn", "ffn", ("keep", "merge", "drop")) for i in range(4))
SIZES = {(block.name, choice): float(choice == "keep") for block in BLOCKS for choice in block.choices}
SPACE = Space.of(Chain("four", "any", (3, 1, 1), BLOCKS), [SizeLimit("units", 3.0, 4.0, SIZES)])
FULL = Score(0.9, accuracy=0.91, cross_entropy=0.1 + 0.2, agreement=1 / 3, images=512)
PATIENCE_S = 30.0

Opened = Callable[..., Ledger]

in_every_storage = pytest.mark.parametrize("opened", ["memory", "sqlite", "journal"], indirect=True)


class Clock:
    """Stands in for the module `time` in the ledger, and goes on when it is told to."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("search.storage.ledger.time", clock)
    return clock


@pytest.fixture(params=["memory", "journal"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Opens the ledger of one study, as a process of its own would."""
    memory = in_memory()

    def storage() -> BaseStorage:
        if request.param == "memory":
            return memory
        return open_storage(f"{request.param}:///{tmp_path / 'study'}")

    def ledger(identity: dict[str, str] | None = None, patience_s: float = PATIENCE_S, **more: object) -> Ledger:
        identity = {"model": "four", "seed": "0"} if identity is None else identity
        return Ledger(storage(), "study", identity, patience_s=patience_s, **more)  # type: ignore[arg-type]

    return ledger


def plan_of(slot: int) -> Plan:
    """Another for every slot: what it cuts is the slot's number, in threes."""
    choices = {block.name: block.choices[slot // 3**place % 3] for place, block in enumerate(BLOCKS)}
    return SPACE.chain.plan(choices)


def entry(slot: int, round_: int = 0, bar: float = -math.inf) -> Entry:
    return Entry(slot, round_, Proposal(plan_of(slot), "random"), SPACE.limits[0].amount(plan_of(slot)), bar)


def planned(ledger: Ledger, count: int) -> Ledger:
    ledger.plan(SPACE, [entry(slot) for slot in range(count)])
    return ledger


def slots(entries: list[Entry]) -> list[int]:
    return [one.slot for one in entries]


@in_every_storage
def test_what_is_planned_is_there_as_it_was(opened: Opened) -> None:
    there = [entry(0), entry(1, round_=2, bar=0.1 + 0.2), entry(7, round_=3)]
    opened().plan(SPACE, there)
    assert opened().entries() == there


def test_a_study_that_is_new_has_no_entries(opened: Opened) -> None:
    assert opened().entries() == []
    assert opened().claim(1) == []


def test_slots_come_in_their_order_whoever_planned_them_first(opened: Opened) -> None:
    opened().plan(SPACE, [entry(3), entry(1)])
    opened().plan(SPACE, [entry(0), entry(2)])
    assert slots(opened().entries()) == [0, 1, 2, 3]
    assert slots(opened().claim(1)) == [0, 1, 2, 3]


@pytest.mark.parametrize(("peers", "share"), [(1, 8), (2, 4), (3, 3), (4, 2), (8, 1), (100, 1)])
def test_each_of_several_claims_its_share(opened: Opened, peers: int, share: int) -> None:
    planned(opened(), 8)
    assert slots(opened().claim(peers)) == list(range(share))


@in_every_storage
def test_what_one_has_claimed_another_does_not(opened: Opened) -> None:
    first, second = planned(opened(), 6), opened()
    assert slots(first.claim(2)) == [0, 1, 2]
    assert slots(second.claim(2)) == [3, 4]
    assert slots(first.claim(1)) == [5]
    assert second.claim(1) == []


def test_a_claim_is_of_one_round(opened: Opened) -> None:
    ledger = opened()
    ledger.plan(SPACE, [entry(0), entry(1), entry(2, round_=1, bar=0.5), entry(3, round_=1, bar=0.5)])
    assert [(one.slot, one.bar) for one in ledger.claim(1)] == [(0, -math.inf), (1, -math.inf)]
    assert [(one.slot, one.bar) for one in ledger.claim(1)] == [(2, 0.5), (3, 0.5)]


@in_every_storage
@pytest.mark.parametrize("score", [Score(0.25), FULL, Score(-3.5, images=1)])
def test_the_figures_of_a_score_survive(opened: Opened, score: Score) -> None:
    ledger = planned(opened(), 2)
    first, second = ledger.claim(1)
    assert ledger.complete(first, score)
    assert opened().entries() == [dataclasses.replace(first, score=score), second]


def test_latency_may_be_a_second_value_of_a_study(opened: Opened) -> None:
    ledger = planned(opened(directions=("maximize", "minimize")), 1)
    (only,) = ledger.claim(1)
    assert ledger.complete(only, FULL)
    assert opened(directions=("maximize", "minimize")).entries()[0].score == FULL


def test_what_is_complete_is_claimed_by_nobody(opened: Opened) -> None:
    ledger = planned(opened(), 3)
    for one in ledger.claim(1):
        ledger.complete(one, Score(0.5))
    assert opened().claim(1) == []
    assert opened().recover() == 0


@in_every_storage
def test_what_is_given_back_is_free(opened: Opened) -> None:
    ledger = planned(opened(), 4)
    claimed = ledger.claim(1)
    ledger.complete(claimed[1], FULL)
    ledger.release()
    there = opened().entries()
    assert [(one.slot, one.score) for one in there] == [(1, FULL)], "what was complete stays, the others are free"
    planned(opened(), 4)
    assert slots(opened().claim(1)) == [0, 2, 3]


def test_giving_back_concerns_nobody_else(opened: Opened) -> None:
    first, second = planned(opened(), 4), opened()
    mine, other = first.claim(2), second.claim(1)
    first.release()
    assert all(second.complete(one, Score(0.5)) for one in other)
    assert slots(opened().entries()) == slots(other)
    assert not set(slots(mine)) & set(slots(other))


def test_of_two_plans_for_a_slot_the_first_counts(opened: Opened) -> None:
    first, second = planned(opened(), 3), planned(opened(), 3)
    assert slots(first.entries()) == [0, 1, 2]
    assert slots(first.claim(1)) == [0, 1, 2]
    assert second.claim(1) == []
    first.release()
    assert second.entries() == [], "the surplus is closed, and fills no slot when the first is given back"


def test_one_who_gives_no_sign_for_long_is_taken_for_dead(opened: Opened, clock: Clock) -> None:
    dead, other = planned(opened(), 2), opened()
    dead.claim(1)
    assert other.recover() == 0, "it was never seen before"
    clock.now_s += PATIENCE_S
    assert other.recover() == 0
    clock.now_s += 0.01
    assert other.recover() == 2
    assert other.recover() == 0
    assert other.entries() == []
    assert slots(planned(other, 2).claim(1)) == [0, 1]


def test_one_who_gives_signs_is_never_taken_for_dead(opened: Opened, clock: Clock) -> None:
    alive, other = planned(opened(), 2), opened()
    claimed = alive.claim(1)
    for _ in range(10):
        alive.beat()
        assert other.recover() == 0
        clock.now_s += PATIENCE_S - 0.01
        assert other.recover() == 0
    assert all(alive.complete(one, FULL) for one in claimed)


def test_one_whose_signs_end_is_taken_for_dead(opened: Opened, clock: Clock) -> None:
    alive, other = planned(opened(), 1), opened()
    alive.claim(1)
    for passed, found in ((0.0, 0), (0.6, 0), (0.6, 1)):
        if passed < 0.6:
            alive.beat()
        clock.now_s += passed * PATIENCE_S
        assert other.recover() == found


def test_nobody_takes_itself_for_dead(opened: Opened, clock: Clock) -> None:
    ledger = planned(opened(), 2)
    claimed = ledger.claim(1)
    ledger.recover()
    clock.now_s += 2 * PATIENCE_S
    assert ledger.recover() == 0
    assert all(ledger.complete(one, FULL) for one in claimed)


def test_patience_is_counted_by_the_watcher(opened: Opened, clock: Clock) -> None:
    """Who has just come has seen nobody be silent, however long that has been so."""
    planned(opened(), 1).claim(1)
    clock.now_s += 2 * PATIENCE_S
    assert opened().recover() == 0


def test_patience_is_counted_in_seconds_that_pass(opened: Opened) -> None:
    planned(opened(), 1).claim(1)
    other = opened(patience_s=0.05)
    assert other.recover() == 0
    time.sleep(0.1)
    assert other.recover() == 1


@in_every_storage
def test_a_result_that_comes_too_late_is_thrown_away(opened: Opened, clock: Clock) -> None:
    late, other = planned(opened(), 2), opened()
    first, second = late.claim(1)
    other.recover()
    clock.now_s += 2 * PATIENCE_S
    assert other.recover() == 2
    late.beat()
    assert not late.complete(first, FULL)
    taken = planned(other, 2).claim(1)
    assert other.complete(taken[0], Score(0.125))
    assert not late.complete(second, FULL)
    late.release()
    assert other.complete(taken[1], Score(0.25))
    assert [one.score for one in opened().entries()] == [Score(0.125), Score(0.25)]


def test_a_slot_that_was_late_is_not_done_twice(opened: Opened) -> None:
    """Somebody plans a slot anew while the worker that was silent still has it: there is one result in the end."""
    slow, other = planned(opened(), 1), opened()
    (mine,) = slow.claim(1)
    planned(other, 1)
    assert other.claim(1) == []
    assert slow.complete(mine, FULL)
    assert [one.score for one in other.entries()] == [FULL]
    assert other.claim(1) == []


@in_every_storage
def test_who_is_alone_takes_over_at_once(opened: Opened) -> None:
    before = planned(opened(patience_s=0), 3)
    claimed = before.claim(1)
    before.complete(claimed[0], FULL)
    after = opened(patience_s=0)
    assert [(one.slot, one.score) for one in after.entries()] == [(0, FULL)]
    assert not before.complete(claimed[1], FULL)


def test_a_study_for_something_else_is_refused_with_the_differences(opened: Opened) -> None:
    opened({"model": "four", "seed": "0"})
    opened({"seed": "0", "model": "four"})
    with pytest.raises(StudyMismatchError) as caught:
        opened({"model": "four", "seed": "1", "budget": "7 ms"})
    assert str(caught.value) == (
        "the study 'study' is a search for something else (seed: 0 there, 1 here; budget: None there, 7 ms here); "
        "give this one a name of its own with --study-name"
    )


def test_a_trial_says_how_far_it_is_from_the_limits() -> None:
    storage = in_memory()
    planned(Ledger(storage, "study", {}), 3)
    for trial in storage.get_all_trials(storage.get_study_id_from_name("study")):
        plan = plan_of(trial.user_attrs["slot"])
        assert trial.params == {block.name: plan.choice_of(block.name) for block in BLOCKS}
        assert trial.user_attrs["at most 3 units"] == SPACE.limits[0].amount(plan)
        assert trial.constraints == {"at most 3 units": SPACE.limits[0].amount(plan) - 3.0}
