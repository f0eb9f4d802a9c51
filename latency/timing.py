"""What readings taken side by side say about each program, and about two of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latency.rounds import Program, Reading, take_rounds
from profiles.measurement import Measurement, Ratio
from pruner.progress import Progress, silent


@dataclass(frozen=True)
class Timings:
    """The readings of programs that were visited in the same rounds: `rounds[name][round]`."""

    rounds: Mapping[str, Sequence[Sequence[Reading]]]

    def measurement(self, name: str) -> Measurement:
        return Measurement.of(self._wall_ms(name), [r.cpu_ms for visit in self.rounds[name] for r in visit])

    def ratio(self, name: str, base: str) -> Ratio:
        """How `name`'s latency compares with `base`'s."""
        return Ratio.of(self._wall_ms(name), self._wall_ms(base))

    def _wall_ms(self, name: str) -> list[list[float]]:
        return [[reading.wall_ms for reading in visit] for visit in self.rounds[name]]


def round_spread(timings: Timings) -> float:
    """The interquartile range, over the rounds, of how slow a round was next to the others (the geometric mean over its
    programs of what they took)."""
    walls = np.array([[min(r.wall_ms for r in visit) for visit in visits] for visits in timings.rounds.values()])
    slowness = np.exp(np.log(walls / np.median(walls, axis=1, keepdims=True)).mean(axis=0))
    low, high = np.percentile(slowness, [25, 75])
    return float(high - low)


def time_interleaved(
    programs: Mapping[str, Program], *, seconds: float, seed: int, progress: Progress = silent
) -> Timings:
    """Times `programs` side by side for at most about `seconds`: see `take_rounds`."""
    return Timings(take_rounds(programs, seconds=seconds, seed=seed, progress=progress))
