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


def test_what_slows_both_leaves_the_ratio_alone() -> None:
    drift = [1.0, 1.0, 3.0, 1.0, 1.0, 3.0, 1.0]
    samples = {name: [Sample(scale * d, 0.0) for d in drift] for name, scale in (("base", 10.0), ("cut", 7.0))}
    ratio = Timings(samples).ratio("cut", "base")
    assert ratio.median == ratio.low == ratio.high == pytest.approx(0.7)


def test_a_measurement_states_its_spread() -> None:
    random = np.random.default_rng(0)
    wall = (5 + 0.2 * random.standard_normal(400)).tolist()
    measurement = Measurement.of(wall, [4.0] * 400)
    assert measurement.p10_ms < measurement.low_ms < 5.0 < measurement.high_ms < measurement.p90_ms
    assert measurement.high_ms - measurement.low_ms < 0.1
    assert (measurement.n, measurement.cpu_ms, measurement.quality) == (400, 4.0, "good")
    with pytest.raises(ValueError, match="no sample"):
        Measurement.of([], [])
