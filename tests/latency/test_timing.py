"""The bookkeeping of timing, on programs whose cost is given: no clock is trusted in a test."""

from itertools import cycle

import numpy as np
import pytest

from latency.device import Program, Sample
from latency.timing import Timings, time_interleaved
from profiles.measurement import Measurement


class Scripted(Program):
    def __init__(self, name: str, costs_ms: list[float], log: list[str]) -> None:
        self.name, self.costs_ms, self.log = name, cycle(costs_ms), log

    def run(self) -> None:
        """Takes no time."""

    def sample(self, runs: int) -> Sample:
        self.log.append(self.name)
        return Sample(next(self.costs_ms), 0.5)


def timed(costs: dict[str, list[float]], rounds_log: list[str] | None = None) -> Timings:
    log: list[str] = [] if rounds_log is None else rounds_log
    return time_interleaved({name: Scripted(name, c, log) for name, c in costs.items()}, seconds=0.0, seed=0)


def test_every_round_takes_each_program_once_in_changing_order() -> None:
    log: list[str] = []
    timings = timed({"a": [1.0], "b": [2.0], "c": [3.0]}, log)
    rounds = [log[9:][start : start + 3] for start in range(0, len(log) - 9, 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 2
    assert rounds[1] == rounds[0][::-1]
    assert {len(samples) for samples in timings.samples.values()} == {len(rounds)} == {12}


def test_a_noisy_program_is_given_half_as_many_rounds_again() -> None:
    quiet, noisy = timed({"a": [1.0]}), timed({"a": [1.0, 2.0]})
    assert quiet.measurement("a").quality == "good"
    assert noisy.measurement("a").quality == "noisy"
    assert (quiet.measurement("a").n, noisy.measurement("a").n) == (12, 18)


def test_what_slows_all_programs_alike_leaves_ratio_and_medians_alone() -> None:
    drift = [1.0, 1.3, 1.3, 1.0, 1.3, 3.0, 1.0, 1.3, 1.0]
    scales = {"base": 10.0, "cut": 7.0, "other": 2.0}
    timings = Timings({name: [Sample(scale * d, 0.0) for d in drift] for name, scale in scales.items()})
    ratio = timings.ratio("cut", "base")
    assert ratio.median == pytest.approx(0.7)
    assert ratio.low == pytest.approx(ratio.high)
    for name, scale in scales.items():
        measurement = timings.measurement(name)
        assert measurement.median_ms == pytest.approx(1.3 * scale)
        assert measurement.low_ms == pytest.approx(measurement.high_ms)
        assert measurement.p90_ms > 1.6 * scale, "the percentiles are those of the wall clock as it was"


def test_two_speeds_of_the_machine_do_not_blur_the_medians() -> None:
    random = np.random.default_rng(0)
    speeds = random.choice([1.0, 1.25], size=101)
    own = 1 + 0.02 * random.standard_normal((2, 101))
    samples = {
        n: [Sample(s * d * o, 0.0) for d, o in zip(speeds, own[i], strict=True)]
        for i, (n, s) in enumerate({"base": 4.0, "cut": 2.8}.items())
    }
    timings = Timings(samples)
    medians = timings.measurement("cut").median_ms / timings.measurement("base").median_ms
    assert medians == pytest.approx(timings.ratio("cut", "base").median, rel=1e-6)
    assert medians == pytest.approx(0.7, rel=0.01)


def test_one_program_alone_keeps_its_spread() -> None:
    measurement = Timings({"a": [Sample(wall, 0.0) for wall in (1.0, 2.0, 3.0, 4.0, 5.0)]}).measurement("a")
    assert measurement.median_ms == 3.0
    assert measurement.low_ms < 3.0 < measurement.high_ms


def test_a_measurement_states_its_spread() -> None:
    random = np.random.default_rng(0)
    wall = (5 + 0.2 * random.standard_normal(400)).tolist()
    measurement = Measurement.of(wall, [4.0] * 400)
    assert measurement.p10_ms < measurement.low_ms < 5.0 < measurement.high_ms < measurement.p90_ms
    assert measurement.high_ms - measurement.low_ms < 0.1
    assert (measurement.n, measurement.cpu_ms, measurement.quality) == (400, 4.0, "good")
    with pytest.raises(ValueError, match="no sample"):
        Measurement.of([], [])
