"""Latencies, and ratios of latencies, of programs that were timed side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latency.rounds import Program, Reading, take_rounds
from profiles.measurement import Measurement, Ratio
from pruner.progress import Progress, silent


@dataclass(frozen=True)
class Timings:
    """The readings of programs that were visited in the same rounds.

    Attributes:
        rounds: Name -> one list of readings per round.
        one_thread: Whether a single thread of the processor did the work. Then the time that the process spent on the
            processor is a second measure of the latency.

    Example:
        >>> from latency.rounds import Reading
        >>> cut, uncut = [[Reading(2.0, 2.0)]] * 3, [[Reading(4.0, 4.0)]] * 3
        >>> timings = Timings({"cut": cut, "uncut": uncut})
        >>> timings.measurement("cut").latency_ms, timings.ratio("cut", "uncut").value
        (2.0, 0.5)
    """

    rounds: Mapping[str, Sequence[Sequence[Reading]]]
    one_thread: bool = False

    def measurement(self, name: str) -> Measurement:
        """Returns the latency of one program, with its spread and its quality."""
        return Measurement.of(self._wall_ms(name), self._cpu_ms(name))

    def ratio(self, name: str, base: str) -> Ratio:
        """Returns the latency of program `name` over that of `base`, by the wall clock."""
        return Ratio.of(self._wall_ms(name), self._wall_ms(base))

    def processor_ratio(self, name: str, base: str) -> Ratio | None:
        """Returns the same ratio by processor time, or None where more than one thread did the work."""
        return Ratio.of(self._cpu_ms(name), self._cpu_ms(base)) if self.one_thread else None

    def halves(self) -> "tuple[Timings, Timings]":
        """Splits the rounds into the earlier and the later half; a single round stands in both."""
        middle = {name: len(visits) // 2 for name, visits in self.rounds.items()}
        earlier = {name: visits[: middle[name]] or visits for name, visits in self.rounds.items()}
        later = {name: visits[middle[name] :] for name, visits in self.rounds.items()}
        return Timings(earlier, self.one_thread), Timings(later, self.one_thread)

    def joined(self, other: "Timings") -> "Timings":
        """Returns the rounds of both, those of `other` last, for the programs that both have timed.

        A program may have been paced differently in `other`. So only as many readings of each visit are kept as the
        shortest visit has.
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
    """Returns how much the rounds differ in speed: the interquartile range of their slowness, as a share.

    The slowness of a round is the geometric mean, over the programs, of what each took in the round over its median.
    """
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
    """Times `programs` side by side in interleaved rounds.

    Args:
        programs: Name -> the program to time.
        seconds: About how long this may take.
        seed: Seed of the orders in which the programs are visited.
        one_thread: Whether a single thread of the processor does the work; see `Timings`.
        progress: Called after each round.
    """
    return Timings(take_rounds(programs, seconds=seconds, seed=seed, progress=progress), one_thread)
