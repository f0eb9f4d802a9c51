"""What two clocks, the rounds and the machine say of a figure: believed only where nothing speaks against it."""

from collections.abc import Callable
from random import Random

import pytest

from latency.evidence import Evidence
from latency.rounds import Reading
from latency.study import REFERENCE
from latency.timing import Timings

ROUNDS = 40
Draw = Callable[[int, Random], Reading]


def timings(one_thread: bool = True, **programs: Draw) -> Timings:
    """`ROUNDS` rounds of three readings each of every program."""
    random = Random(0)
    rounds = {name: [[draw(i, random) for _ in range(3)] for i in range(ROUNDS)] for name, draw in programs.items()}
    return Timings(rounds, one_thread)


def steady(ms: float, spread: float = 0.02) -> Draw:
    """A quiet machine: both clocks say the same."""

    def draw(_round: int, random: Random) -> Reading:
        took = ms * (1 + spread * random.random())
        return Reading(took, took)

    return draw


def interrupted(ms: float, by_ms: float, share: float) -> Draw:
    """Other work takes the processor for `by_ms` in that share of the readings, and not of the process's own time."""

    def draw(_round: int, random: Random) -> Reading:
        worked = ms * (1 + 0.02 * random.random())
        return Reading(worked + (by_ms if random.random() < share else 0.0), worked)

    return draw


def of(found: Timings) -> Evidence:
    return Evidence.of(found, "pruned", "baseline")


def test_on_a_quiet_machine_nothing_speaks_against_the_figure() -> None:
    found = of(timings(baseline=steady(4.0), pruned=steady(2.8)))
    assert found.doubts == found.doubts_in_ms == ()
    assert found.wall.value == pytest.approx(0.7, rel=0.01)
    assert found.processor is not None
    assert found.processor.value == found.wall.value


def test_a_baseline_that_is_interrupted_and_a_network_that_is_not_are_told_apart_by_processor_time() -> None:
    """A slice of other work lengthens long runs more often than short ones: the wall clock says 0.3, steadily."""
    found = of(timings(baseline=interrupted(4.0, 5.0, 1.0), pruned=steady(2.8)))
    assert found.wall.value == pytest.approx(2.8 / 9.0, rel=0.02)
    assert found.wall.high < 0.33, "its own interval knows nothing of it"
    (doubt,) = found.doubts
    assert "processor time says 0.70" in doubt
    assert "the wall clock says 0.31" in doubt


def test_the_processor_is_no_witness_of_what_several_threads_or_a_gpu_do() -> None:
    found = of(timings(one_thread=False, baseline=interrupted(4.0, 5.0, 1.0), pruned=steady(2.8)))
    assert found.processor is None
    assert found.doubts == ()


def test_readings_that_spread_are_noisy() -> None:
    noisy = of(timings(baseline=steady(4.0), pruned=steady(2.8, spread=1.0)))
    assert noisy.network.quality == "noisy"
    assert any(doubt.startswith("the network's readings spread over ") for doubt in noisy.doubts)
    assert not any("baseline's readings" in doubt for doubt in noisy.doubts)


def test_rounds_that_disagree_are_no_measurement() -> None:
    def changing(i: int, random: Random) -> Reading:
        took = 2.8 if i < ROUNDS // 2 else 3.2
        return Reading(took, took)

    (doubt,) = of(timings(baseline=steady(4.0, spread=0.0), pruned=changing)).doubts
    assert doubt == "the first half of the rounds says 0.700 of the baseline, the second 0.800"


def slowing(ms: float) -> Draw:
    """The machine becomes slower by a tenth at half time."""

    def draw(i: int, random: Random) -> Reading:
        took = ms * (1.0 if i < ROUNDS // 2 else 1.1) * (1 + 0.002 * random.random())
        return Reading(took, took)

    return draw


def test_a_machine_that_slows_down_spoils_milliseconds_and_not_the_ratio() -> None:
    found = of(timings(baseline=slowing(4.0), pruned=slowing(2.8)))
    assert found.doubts == ()
    assert found.drift == pytest.approx(0.1, abs=0.005)
    assert found.doubts_in_ms == ("the machine's speed changed by 10% while it was measured",)


def test_the_drift_is_the_references_where_there_is_one() -> None:
    found = of(timings(**{REFERENCE: steady(5.0), "baseline": slowing(4.0), "pruned": slowing(2.8)}))
    assert found.drift == pytest.approx(0.0, abs=0.01)
    assert found.reference is not None
    assert found.reference.latency_ms == pytest.approx(5.0, rel=0.01)


def test_other_work_on_both_alike_spoils_milliseconds_and_not_the_ratio() -> None:
    """Both take twice as long by the clock: their ratio is right, their milliseconds are not."""

    def halved(ms: float) -> Draw:
        return lambda _round, _random: Reading(2 * ms, ms)

    found = of(timings(baseline=halved(4.0), pruned=halved(2.8)))
    assert found.doubts == ()
    assert found.doubts_in_ms == ("5.600 ms passed by the clock, in which the processor worked 2.800",)


def test_exact_readings_leave_no_doubt_whatever_they_are() -> None:
    for ms in (0.0, 2.0):
        exact = timings(baseline=lambda _r, _d: Reading(4.0, 4.0), pruned=lambda _r, _d, ms=ms: Reading(ms, ms))
        assert of(exact).doubts_in_ms == ()


def test_rounds_of_two_goes_are_added_up() -> None:
    once, again = (timings(baseline=steady(4.0), pruned=steady(ms)) for ms in (2.8, 2.9))
    both = once.joined(again)
    assert both.one_thread
    assert both.measurement("pruned").n == 2 * ROUNDS * 3
    assert both.rounds["pruned"][0] == once.rounds["pruned"][0]
    assert both.rounds["pruned"][-1] == again.rounds["pruned"][-1]


def test_rounds_of_another_pace_are_cut_to_the_shortest_visit() -> None:
    three = Timings({"a": [[Reading(1.0, 1.0)] * 3] * 2})
    five = Timings({"a": [[Reading(2.0, 2.0)] * 5] * 2, "b": [[Reading(9.0, 9.0)]]})
    both = three.joined(five)
    assert set(both.rounds) == {"a"}
    assert [len(visit) for visit in both.rounds["a"]] == [3, 3, 3, 3]
