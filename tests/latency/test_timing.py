"""The bookkeeping of timing, on programs whose cost is given: no clock is trusted in a test."""

from itertools import cycle

import numpy as np
import pytest

from latency.rounds import MAX_ROUNDS, MIN_ROUNDS, Pace, Program, Reading, is_noisy, pace_of, take_rounds
from latency.timing import Timings, round_spread, time_interleaved
from profiles.measurement import Measurement, Ratio


class Scripted(Program):
    def __init__(self, name: str, costs_ms: list[float], log: list[str]) -> None:
        self.name, self.costs_ms, self.log = name, cycle(costs_ms), log

    def run(self) -> None:
        """Takes no time."""

    def visit(self, pace: Pace) -> list[Reading]:
        self.log.append(self.name)
        return [Reading(next(self.costs_ms), 0.5) for _ in range(pace.readings)]


def timed(costs: dict[str, list[float]], log: list[str] | None = None, seconds: float = 0.0) -> Timings:
    seen: list[str] = [] if log is None else log
    return time_interleaved({name: Scripted(name, c, seen) for name, c in costs.items()}, seconds=seconds, seed=0)


def steady(walls: dict[str, list[float]]) -> Timings:
    return Timings({name: [[Reading(wall, wall)] for wall in ms] for name, ms in walls.items()})


def test_every_round_visits_each_program_once_in_changing_order() -> None:
    log: list[str] = []
    programs = {name: Scripted(name, [cost], log) for name, cost in {"a": 1.0, "b": 2.0, "c": 3.0}.items()}
    paces = {name: Pace(runs=1, readings=3, warm=True) for name in programs}
    rounds = take_rounds(programs, seconds=30.0, seed=0, progress=lambda *_: None, paces=paces)
    orders = [log[start : start + 3] for start in range(0, len(log), 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in orders)
    assert len({tuple(names) for names in orders}) > 2
    assert all(orders[i + 1] == orders[i][::-1] for i in range(0, len(orders), 2))
    assert {len(visits) for visits in rounds.values()} == {len(orders)} == {MAX_ROUNDS}


def test_without_time_there_are_three_rounds() -> None:
    timings = timed({"a": [1.0], "b": [2.0]})
    assert {len(visits) for visits in timings.rounds.values()} == {MIN_ROUNDS}


def test_the_seconds_are_kept_and_the_last_fifth_is_for_what_reads_noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("latency.rounds.time.monotonic", lambda: now[0])

    class Ticking(Scripted):
        def visit(self, pace: Pace) -> list[Reading]:
            now[0] += 0.1
            return super().visit(pace)

    spent = []
    for costs in ([1.0], [1.0, 2.0]):
        now[0] = 0.0
        program = Ticking("a", costs, [])
        rounds = take_rounds(
            {"a": program}, seconds=5.0, seed=0, progress=lambda *_: None, paces={"a": Pace(1, 4, warm=True)}
        )
        spent.append(now[0])
        assert is_noisy([reading.wall_ms for visit in rounds["a"] for reading in visit]) is (len(costs) > 1)
    assert spent == pytest.approx([4.0, 5.0], abs=0.11)


def test_a_program_is_visited_at_its_own_pace() -> None:
    assert pace_of(Scripted("short", [0.1], [])) == Pace(runs=20, readings=6, warm=True)
    assert pace_of(Scripted("usual", [3.0], [])) == Pace(runs=1, readings=4, warm=True)
    assert pace_of(Scripted("long", [40.0], [])) == Pace(runs=1, readings=3, warm=True)
    assert pace_of(Scripted("very long", [400.0], [])) == Pace(runs=1, readings=1, warm=False)


def test_real_runs_are_timed_after_one_that_is_not_counted() -> None:
    class Counting(Program):
        runs = 0

        def run(self) -> None:
            self.runs += 1

    program = Counting()
    readings = program.visit(Pace(runs=3, readings=2, warm=True))
    assert program.runs == 7
    assert len(readings) == 2
    assert all(reading.wall_ms > 0 for reading in readings)


def test_bursts_of_other_work_leave_the_latency_alone() -> None:
    random = np.random.default_rng(0)
    quiet = 5 * (1 + 0.002 * random.standard_normal((60, 3)))
    disturbed = quiet * np.where(random.random((60, 3)) < 0.6, random.uniform(1.05, 1.6, (60, 3)), 1.0)
    one, other = (Measurement.of(walls.tolist(), [4.0]) for walls in (quiet, disturbed))
    assert other.latency_ms == pytest.approx(one.latency_ms, rel=0.005)
    assert other.median_ms > 1.01 * one.median_ms
    assert other.p90_ms > 1.2 * one.p90_ms
    assert (one.quality, other.quality) == ("good", "noisy")


def test_a_measurement_states_its_spread() -> None:
    random = np.random.default_rng(0)
    wall = (5 + 0.2 * random.standard_normal((100, 4))).tolist()
    measurement = Measurement.of(wall, [4.0] * 400)
    assert (
        measurement.p10_ms < measurement.low_ms < measurement.latency_ms < measurement.high_ms < measurement.median_ms
    )
    assert measurement.high_ms - measurement.low_ms < 0.15
    assert (measurement.n, measurement.cpu_ms, measurement.quality) == (400, 4.0, "good")
    with pytest.raises(ValueError, match="nothing was read"):
        Measurement.of([], [])


def test_a_slow_stretch_that_both_went_through_leaves_their_ratio_alone() -> None:
    speeds = [1.0, 1.3, 1.3, 1.0, 1.3, 3.0, 1.0, 1.3, 1.0]
    scales = {"base": 10.0, "cut": 7.0}
    timings = steady({name: [scale * speed for speed in speeds] for name, scale in scales.items()})
    ratio = timings.ratio("cut", "base")
    assert ratio == Ratio(pytest.approx(0.7), pytest.approx(0.7), pytest.approx(0.7))


def test_how_steady_a_machine_was_is_told() -> None:
    even = steady({"a": [1.0] * 8, "b": [2.0] * 8})
    uneven = steady({"a": [1.0, 1.5] * 4, "b": [2.0, 3.0] * 4})
    assert round_spread(even) == 0
    assert round_spread(uneven) == pytest.approx(0.4, abs=0.01)
