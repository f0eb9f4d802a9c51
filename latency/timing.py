"""Timing several programs side by side, so that whatever the machine does meanwhile falls on all of them alike."""

import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latency.device import Program, Sample
from profiles.measurement import Measurement, Ratio
from pruner.progress import Progress, silent

_SAMPLE_MS = 12.0  # a sample lasts about this long: thousands of times the timer's own cost
_MIN_RUNS, _MAX_RUNS = 3, 50
_SLOW_MS = 300.0  # a run of that length is a sample by itself
_MIN_ROUNDS, _MAX_ROUNDS = 12, 120


@dataclass(frozen=True)
class Timings:
    """The samples of programs that were timed in the same rounds: `samples[name][round]`.

    A machine changes its speed from one second to the next, most where it is shared. What slows all
    programs of a round alike is taken out of the medians: each round is divided by how slow it was, which is the
    geometric mean over the programs of sample / median.
    """

    samples: Mapping[str, Sequence[Sample]]

    def measurement(self, name: str) -> Measurement:
        wall_ms = [sample.wall_ms for sample in self.samples[name]]
        cpu_ms = [sample.cpu_ms for sample in self.samples[name]]
        return Measurement.of(wall_ms, cpu_ms, wall_ms / self._slowness())

    def ratio(self, name: str, base: str) -> Ratio:
        """How `name` compares with `base`: the median over the rounds of the ratio of their samples."""
        pairs = zip(self.samples[name], self.samples[base], strict=True)
        return Ratio.of([sample.wall_ms / beside.wall_ms for sample, beside in pairs])

    def _slowness(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Of each round, 1 for one of median speed; of one program alone it cannot be told."""
        walls = np.array([[sample.wall_ms for sample in samples] for samples in self.samples.values()])
        if len(walls) == 1:
            return np.ones(walls.shape[1])
        slowness = np.exp(np.log(walls / np.median(walls, axis=1, keepdims=True)).mean(axis=0))
        normalised: np.ndarray[tuple[int], np.dtype[np.float64]] = slowness / np.median(slowness)
        return normalised


def time_interleaved(
    programs: Mapping[str, Program],
    *,
    seconds: float,
    seed: int,
    progress: Progress = silent,
) -> Timings:
    """Times `programs` in rounds for about `seconds`: each round takes one sample of each, in an order drawn anew and
    every other time reversed (random interleaving). Programs that still read noisy get half as many rounds again.
    """
    runs = {name: _runs_per_sample(program) for name, program in programs.items()}
    samples: dict[str, list[Sample]] = {name: [] for name in programs}
    timings, orders, started = Timings(samples), _orders(list(programs), seed), time.monotonic()
    done, total = 0, _MAX_ROUNDS
    again = 0
    while done < total:
        for name in next(orders):
            samples[name].append(programs[name].sample(runs[name]))
        done += 1
        seconds_a_round = (time.monotonic() - started) / done
        total = max(_MIN_ROUNDS, min(_MAX_ROUNDS, int(seconds / seconds_a_round))) + again
        if done == total and not again and any(timings.measurement(name).quality == "noisy" for name in programs):
            again = done // 2
            total += again
        progress(done, total, f"{len(programs)} programs side by side")
    return timings


def _orders(names: list[str], seed: int) -> Iterator[list[str]]:
    generator = random.Random(seed)
    while True:
        generator.shuffle(names)
        yield list(names)
        yield names[::-1]


def _runs_per_sample(program: Program) -> int:
    program.run()
    once_ms = min(program.sample(1).wall_ms for _ in range(3))
    if once_ms > _SLOW_MS:
        return 1
    if once_ms <= 0:
        return _MIN_RUNS
    return max(_MIN_RUNS, min(_MAX_RUNS, math.ceil(_SAMPLE_MS / once_ms)))
