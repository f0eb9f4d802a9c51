"""What readings taken side by side say about each program, and about two of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latency.rounds import Program, Reading, take_rounds
from profiles.measurement import Measurement, Ratio
from pruner.progress import Progress, silent


@dataclass(frozen=True)
class Timings:
    """The readings of programs that were visited in the same rounds: `rounds[name][round]`.

    `one_thread` says that one thread of the processor did the work: then the process's time on the processor is a
    second witness of what a run takes.
    """

    rounds: Mapping[str, Sequence[Sequence[Reading]]]
    one_thread: bool = False

    def measurement(self, name: str) -> Measurement:
        return Measurement.of(self._wall_ms(name), self._cpu_ms(name))

    def ratio(self, name: str, base: str) -> Ratio:
        """How `name`'s latency compares with `base`'s, by the wall clock."""
        return Ratio.of(self._wall_ms(name), self._wall_ms(base))

    def processor_ratio(self, name: str, base: str) -> Ratio | None:
        """The same by time on the processor; None where that says nothing of latency."""
        return Ratio.of(self._cpu_ms(name), self._cpu_ms(base)) if self.one_thread else None

    def halves(self) -> "tuple[Timings, Timings]":
        """The earlier and the later rounds; both are all of them where there is only one."""
        middle = {name: len(visits) // 2 for name, visits in self.rounds.items()}
        earlier = {name: visits[: middle[name]] or visits for name, visits in self.rounds.items()}
        later = {name: visits[middle[name] :] for name, visits in self.rounds.items()}
        return Timings(earlier, self.one_thread), Timings(later, self.one_thread)

    def joined(self, other: "Timings") -> "Timings":
        """The rounds of both, for the programs that both have timed; those of `other` come last.

        A program may be paced otherwise the second time: of every visit as many readings count as all visits have.
        """
        rounds = {}
        for name in self.rounds.keys() & other.rounds.keys():
            visits = [*self.rounds[name], *other.rounds[name]]
            readings = min(len(visit) for visit in visits)
            rounds[name] = [visit[:readings] for visit in visits]
        return Timings(rounds, self.one_thread and other.one_thread)

    def _wall_ms(self, name: str) -> list[list[float]]:
        return [[reading.wall_ms for reading in visit] for visit in self.rounds[name]]

    def _cpu_ms(self, name: str) -> list[list[float]]:
        return [[reading.cpu_ms for reading in visit] for visit in self.rounds[name]]


def round_spread(timings: Timings) -> float:
    """The interquartile range, over the rounds, of how slow a round was next to the others (the geometric mean over its
    programs of what they took)."""
    walls = np.array([[min(r.wall_ms for r in visit) for visit in visits] for visits in timings.rounds.values()])
    slowness = np.exp(np.log(walls / np.median(walls, axis=1, keepdims=True)).mean(axis=0))
    low, high = np.percentile(slowness, [25, 75])
    return float(high - low)


def time_interleaved(
    programs: Mapping[str, Program],
    *,
    seconds: float,
    seed: int,
    one_thread: bool = False,
    progress: Progress = silent,
) -> Timings:
    """Times `programs` side by side for at most about `seconds`: see `take_rounds`, and `Timings` for `one_thread`."""
    return Timings(take_rounds(programs, seconds=seconds, seed=seed, progress=progress), one_thread)
