"""Times programs side by side in rounds, with the standard library alone.

This file is packed into kits, so that a machine without Depthfinder is timed by the same code.
"""

import math
import random
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

_READING_MS = 2.0  # a reading lasts at least this long: thousands of times the timer's own cost
_VISIT_MS = 12.0
_MIN_READINGS, _MAX_READINGS = 3, 6
_SLOW_MS = 300.0  # a run of that length is a visit by itself
MIN_ROUNDS, MAX_ROUNDS = 3, 120
"""The fewest and the most rounds that are taken."""
_ENOUGH = 0.8  # of the seconds; the rest is for programs that still read noisy
NOISY_IQR = 0.25
"""Readings are noisy when their interquartile range is more than this share of their median."""

Progress = Callable[[int, int, str], None]
"""Called with the steps done, the steps in all, and a note of what is being done."""


@dataclass(frozen=True)
class Reading:
    """The time of one run, or the mean of a few in a row where one run is too short for the clock.

    Attributes:
        wall_ms: Milliseconds per run by the wall clock.
        cpu_ms: Milliseconds per run that this process spent on the processor, over all its threads.
    """

    wall_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Pace:
    """How a program is visited in each round.

    Attributes:
        runs: Runs per reading; the reading is their mean.
        readings: Readings per visit.
        warm: Whether one run that is not counted comes first.
    """

    runs: int
    readings: int
    warm: bool


class Program(ABC):
    """A network, or a piece of one, ready to be run on its device."""

    @abstractmethod
    def run(self) -> None:
        """Runs the program once; the work is finished when this returns."""

    def visit(self, pace: Pace) -> list[Reading]:
        """Takes a few readings in a row, with warm caches as in deployment."""
        if pace.warm:
            self.run()
        return [self._reading(pace.runs) for _ in range(pace.readings)]

    def _reading(self, runs: int) -> Reading:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(runs):
            self.run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Reading(wall_ms=wall / runs * 1e3, cpu_ms=cpu / runs * 1e3)


Rounds = dict[str, list[list[Reading]]]
"""The readings of each program: `rounds[name][round]` is the list of readings of one visit."""


def take_rounds(
    programs: Mapping[str, Program],
    *,
    seconds: float,
    seed: int,
    progress: Progress,
    paces: Mapping[str, Pace] | None = None,
) -> Rounds:
    """Times programs side by side: every program is visited once per round (random interleaving).

    The order of the programs is drawn anew for every second round; the round in between has it reversed. At least 3
    and at most 120 rounds are taken.

    Args:
        programs: Name -> the program to time.
        seconds: About how long this may take. The last fifth is spent only if a program still reads noisy.
        seed: Seed of the orders.
        progress: Called after each round.
        paces: Name -> how to visit that program. The pace of all others is found by running them.

    Returns:
        Name -> one list of readings per round.
    """
    known = paces or {}
    started = time.monotonic()
    pace = {name: known.get(name) or pace_of(program) for name, program in programs.items()}
    rounds: Rounds = {name: [] for name in programs}
    orders = _orders(list(programs), seed)
    done, allowed = 0, _ENOUGH * seconds
    while True:
        for name in next(orders):
            rounds[name].append(programs[name].visit(pace[name]))
        done += 1
        total = _affordable(done, time.monotonic() - started, allowed)
        if done >= total and allowed < seconds and _any_noisy(rounds):
            allowed = seconds
            total = _affordable(done, time.monotonic() - started, allowed)
        progress(min(done, total), total, f"{len(programs)} programs side by side")
        if done >= total:
            return rounds


def _affordable(done: int, spent: float, allowed: float) -> int:
    """How many rounds there is time for in all, if they go on as long as so far."""
    rounds = int(allowed / (spent / done)) if spent else MAX_ROUNDS
    return min(MAX_ROUNDS, max(MIN_ROUNDS, rounds))


def _any_noisy(rounds: Rounds) -> bool:
    return any(is_noisy([reading.wall_ms for visit in visits for reading in visit]) for visits in rounds.values())


def is_noisy(wall_ms: Sequence[float]) -> bool:
    """Whether the interquartile range of the readings is more than a quarter of their median.

    Fewer than 3 readings are never noisy.
    """
    if len(wall_ms) < MIN_ROUNDS:
        return False
    low, median, high = statistics.quantiles(wall_ms, n=4, method="inclusive")
    return high - low > NOISY_IQR * median


def pace_of(program: Program) -> Pace:
    """Finds how to visit a program by running it a few times."""
    program.run()
    once = Pace(runs=1, readings=1, warm=False)
    once_ms = program.visit(once)[0].wall_ms
    if once_ms <= _SLOW_MS:
        once_ms = min([once_ms] + [program.visit(once)[0].wall_ms for _ in range(2)])
    return pace_for(once_ms)


def pace_for(once_ms: float) -> Pace:
    """Returns how to visit a program of which one run takes `once_ms` milliseconds."""
    if once_ms > _SLOW_MS:
        return Pace(runs=1, readings=1, warm=False)
    runs = max(1, math.ceil(_READING_MS / max(once_ms, 1e-4)))
    readings = round(_VISIT_MS / max(once_ms * runs, 1e-4))
    return Pace(runs, max(_MIN_READINGS, min(_MAX_READINGS, readings)), warm=True)


def visit_seconds(once_ms: float) -> float:
    """Returns the seconds that a visit takes to a program of which one run takes `once_ms` milliseconds."""
    pace = pace_for(once_ms)
    return once_ms * pace.runs * (pace.readings + pace.warm) / 1e3


def _orders(names: list[str], seed: int) -> Iterator[list[str]]:
    generator = random.Random(seed)
    while True:
        generator.shuffle(names)
        yield list(names)
        yield names[::-1]
