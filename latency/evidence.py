"""Judges whether readings of a network beside its baseline can be believed, by two clocks and the spread."""

from dataclasses import dataclass
from typing import Final

from latency.study import REFERENCE
from latency.timing import Timings
from profiles.measurement import Measurement, Ratio
from profiles.profile import Profile

_APART: Final = 0.05
"""Two witnesses of one figure contradict each other when they are further apart than this share of it. On a quiet
processor both clocks agree within a hundredth; where other work runs they part by tens of per cent."""


@dataclass(frozen=True)
class Evidence:
    """A network and its baseline as timed in the same rounds, with what speaks against the readings.

    Attributes:
        network: The network's latency by the wall clock, with its processor time and its quality.
        baseline: The baseline's latency, processor time and quality.
        wall: The network's latency over the baseline's, by the wall clock.
        processor: The same ratio by processor time, which other work cannot lengthen; None where several threads or a
            GPU do the work, because processor time then says nothing about latency.
        reference: The matrix product that gauges the machine, if it was timed in the same rounds.
        drift: How much slower the machine was in the second half of the rounds than in the first, as a share. It is
            taken from the reference, or from the baseline where the reference was not timed.
        doubts: Why `wall` cannot be believed, each a sentence; empty if nothing speaks against it.
    """

    network: Measurement
    baseline: Measurement
    wall: Ratio
    processor: Ratio | None
    reference: Measurement | None
    drift: float
    doubts: tuple[str, ...]

    @classmethod
    def of(cls, timings: Timings, network: str, baseline: str) -> "Evidence":
        """Compares one network with its baseline.

        Args:
            timings: The readings of both, taken in the same rounds.
            network: The name of the network in `timings`.
            baseline: The name of the baseline in `timings`.
        """
        first, second = timings.halves()
        both = {"network": timings.measurement(network), "baseline": timings.measurement(baseline)}
        wall, processor = timings.ratio(network, baseline), timings.processor_ratio(network, baseline)
        doubts = [
            f"the {name}'s readings spread over {found.spread:.0%} of their median"
            for name, found in both.items()
            if found.quality == "noisy"
        ]
        if processor is not None and _contradict(wall.value, processor.value):
            doubts.append(
                f"the wall clock says {wall.value:.3f} of the baseline, processor time says {processor.value:.3f}"
            )
        halves = [half.ratio(network, baseline).value for half in (first, second)]
        if _contradict(*halves):
            doubts.append(
                f"the first half of the rounds says {halves[0]:.3f} of the baseline, the second {halves[1]:.3f}"
            )
        gauge = REFERENCE if REFERENCE in timings.rounds else baseline
        before, after = (half.measurement(gauge).latency_ms for half in (first, second))
        return cls(
            network=both["network"],
            baseline=both["baseline"],
            wall=wall,
            processor=processor,
            reference=timings.measurement(REFERENCE) if gauge == REFERENCE else None,
            drift=after / before - 1 if before else 0.0,
            doubts=tuple(doubts),
        )

    @property
    def doubts_in_ms(self) -> tuple[str, ...]:
        """Why the network's latency in milliseconds cannot be believed.

        These are the doubts about the ratio, and what disturbs both networks alike: that changes their milliseconds
        and leaves their ratio as it is.
        """
        found = list(self.doubts)
        network = self.network
        if self.processor is not None and _contradict(network.latency_ms, network.cpu_ms):
            found.append(
                f"{network.latency_ms:.3f} ms passed by the clock, in which the processor worked {network.cpu_ms:.3f}"
            )
        if abs(self.drift) > _APART:
            found.append(f"the machine's speed changed by {self.drift:.0%} while it was measured")
        return tuple(found)


def slowdown(profile: Profile, evidence: Evidence) -> float | None:
    """Returns how much slower the machine is now than when the table was made.

    Returns:
        What the reference takes now over what it took then, or None if one of the two was not timed.
    """
    then, now = profile.conditions, evidence.reference
    return None if then is None or now is None else now.latency_ms / then.reference.latency_ms


def _contradict(one: float, other: float) -> bool:
    return abs(one - other) > _APART * max(one, other)
