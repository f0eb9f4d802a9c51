"""Met, not met, or undecided: proven by every witness, or said not to be."""

from collections.abc import Collection, Sequence

import pytest

from latency.evidence import Evidence
from latency.rounds import Reading
from latency.timing import Timings
from profiles.measurement import Measurement, Ratio
from search.verification.budget import Budget
from search.verification.verdict import gather_evidence, verdict_on


def evidence(
    wall: tuple[float, float],
    processor: tuple[float, float] | None = None,
    *,
    ms: tuple[float, float] = (2.7, 2.8),
    doubts: Sequence[str] = (),
) -> Evidence:
    """What intervals say; the figures in their middles."""
    baseline, network = (Measurement(m, a, b, m, a, b, 0.0, m, 90) for m, a, b in ((4.0, 4.0, 4.0), (ms[0], *ms)))
    ratios = [None if at is None else Ratio(sum(at) / 2, *at) for at in (wall, processor)]
    assert ratios[0] is not None
    return Evidence(network, baseline, ratios[0], ratios[1], None, 0.0, tuple(doubts))


RATIO = Budget(2.8, ratio=0.7)


@pytest.mark.parametrize(
    ("wall", "processor", "answer"),
    [
        ((0.66, 0.68), (0.67, 0.69), "met"),
        ((0.66, 0.70), (0.67, 0.70), "met"),
        ((0.66, 0.68), (0.67, 0.71), "undecided"),
        ((0.66, 0.71), (0.67, 0.69), "undecided"),
        ((0.71, 0.72), (0.69, 0.72), "undecided"),
        ((0.71, 0.72), (0.705, 0.72), "not met"),
        ((0.66, 0.68), None, "met"),
        ((0.71, 0.72), None, "not met"),
    ],
)
def test_every_witness_has_to_agree(
    wall: tuple[float, float], processor: tuple[float, float] | None, answer: str
) -> None:
    assert verdict_on(RATIO, evidence(wall, processor)).answer == answer


def test_readings_that_cannot_be_believed_decide_nothing() -> None:
    for wall in ((0.3, 0.31), (0.9, 0.91)):
        verdict = verdict_on(RATIO, evidence(wall, doubts=["it rained", "it poured"]))
        assert verdict.answer == "undecided"
        assert verdict.reason == "it rained; it poured"


def test_milliseconds_are_held_against_the_networks_own_interval() -> None:
    for ms, answer in (((2.7, 2.8), "met"), ((2.7, 2.81), "undecided"), ((2.81, 2.9), "not met")):
        verdict = verdict_on(Budget(2.8), evidence((0.9, 0.9), ms=ms))
        assert verdict.answer == answer
        assert f"{ms[0]:.3f} to {ms[1]:.3f} ms" in verdict.reason


def rounds(baseline_ms: float, pruned_ms: float, worked_ms: float, count: int = 12) -> Timings:
    readings = {"baseline": Reading(baseline_ms, 4.0), "pruned": Reading(pruned_ms, worked_ms)}
    return Timings({name: [[reading] * 3] * count for name, reading in readings.items()}, one_thread=True)


class Scripted:
    """Times as it is told to, and notes for whom; a wait is noted too."""

    def __init__(self, *goes: Timings) -> None:
        self.goes, self.asked, self.waited = list(goes), list[list[str]](), list[float]()

    def __call__(self, names: Collection[str]) -> Timings:
        self.asked.append(list(names))
        return self.goes.pop(0)


def gathered(machine: Scripted, told: list[str] | None = None) -> Evidence:
    found = gather_evidence(
        ["pruned"],
        "baseline",
        RATIO,
        machine,
        again=lambda one: verdict_on(RATIO, one).answer == "undecided",
        tell=(told if told is not None else []).append,
        wait=machine.waited.append,
    )
    return found["pruned"]


LOADED, QUIET = rounds(9.0, 2.7, 2.7), rounds(4.0, 2.7, 2.7)


def test_what_is_proven_at_once_is_measured_once() -> None:
    machine = Scripted(QUIET)
    assert verdict_on(RATIO, gathered(machine)).answer == "met"
    assert machine.waited == []


def test_what_cannot_be_believed_is_waited_for_and_its_rounds_are_thrown_away() -> None:
    machine, told = Scripted(LOADED, QUIET), list[str]()
    found = gathered(machine, told)
    assert verdict_on(RATIO, found).answer == "met"
    assert found.network.n == QUIET.measurement("pruned").n
    assert machine.waited == [2.0]
    reason = "the wall clock says 0.300 of the baseline, processor time says 0.675"
    assert told == [f"1 of 1 networks to be measured again in 2 s: {reason}"]


def test_the_waiting_is_bounded_and_then_it_is_undecided() -> None:
    machine = Scripted(LOADED, LOADED, LOADED)
    assert verdict_on(RATIO, gathered(machine)).answer == "undecided"
    assert machine.waited == [2.0, 6.0]
    assert machine.goes == []


def test_rounds_that_only_decide_nothing_are_added_to() -> None:
    """A quarter of the rounds are within the budget of 2.8 ms, so that the lower quartile may fall on either side."""
    took = [2.78, 2.82, 2.82, 2.82] * 3
    near = Timings({"baseline": [[Reading(4.0, 4.0)]] * 12, "pruned": [[Reading(ms, ms)] for ms in took]}, True)
    machine = Scripted(near, near, near)
    found = gathered(machine)
    assert verdict_on(RATIO, found).answer == "undecided"
    assert found.network.n == 36


def test_only_what_is_unsettled_is_timed_again() -> None:
    def times(names: Collection[str]) -> Timings:
        asked.append(set(names))
        visits = {
            "baseline": [[Reading(4.0, 4.0)]] * 9,
            "good": [[Reading(2.0, 2.0)]] * 9,
            "bad": [[Reading(2.0, 3.0)]] * 9,
        }
        return Timings({name: visits[name] for name in ("baseline", *names)}, True)

    asked: list[set[str]] = []
    gather_evidence(
        ["good", "bad"], "baseline", RATIO, times, again=lambda e: bool(e.doubts), tell=[].append, wait=[].append
    )
    assert asked == [{"good", "bad"}, {"bad"}, {"bad"}]
