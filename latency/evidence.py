"""What readings of a network beside its baseline are worth: two clocks, and what speaks against believing them."""

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
    """A network and its baseline as timed in the same rounds.

    Attributes:
        network: the network by the wall clock, with its processor time and its quality.
        baseline: the baseline likewise.
        wall: the network's latency over the baseline's, by the wall clock.
        processor: the same by the process's own time on the processor, which other work cannot lengthen; None where it
            says nothing of latency, because several threads or a GPU do the work.
        reference: the matrix product that gauges the machine, if it was timed in the same rounds.
        drift: how much slower the machine was in the second half of the rounds than in the first, as a share: by its
            reference, or by the baseline where that was not timed.
        doubts: why `wall` cannot be believed, each a sentence; empty where nothing speaks against it.
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
        """What `timings` say of one network beside another."""
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
        """Why the network's own latency cannot be believed: what disturbs both networks alike leaves their ratio as it
        is, but not their milliseconds."""
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
    """What the machine's reference takes now, over what it took when the table was made; None where one of the two was
    not timed."""
    then, now = profile.conditions, evidence.reference
    return None if then is None or now is None else now.latency_ms / then.reference.latency_ms


def _contradict(one: float, other: float) -> bool:
    return abs(one - other) > _APART * max(one, other)
