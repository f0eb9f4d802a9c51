"""The comparison of two profiles of one network."""

from dataclasses import dataclass
from typing import Final

from profiles.errors import ProfileError
from profiles.profile import Profile

_AGREE: Final = 0.03


@dataclass(frozen=True)
class RowDifference:
    """The cost of one (signature, choice) in both profiles, in milliseconds; None where a profile lacks it."""

    signature: str
    choice: str
    before_ms: float | None
    after_ms: float | None


@dataclass(frozen=True)
class Difference:
    """How two profiles of one network differ.

    Attributes:
        settings: The fields in which the settings differ, in words.
        before_ms: The latency of the uncut network in the first profile, in milliseconds.
        after_ms: That in the second.
        whole: The latency of the uncut network, after / before.
        machine: The time of the reference product, after / before; None where one of the two was not measured.
        noise: What disturbed either measurement.
        rows: The costs row by row.
    """

    model: str
    settings: tuple[str, ...]
    before_ms: float
    after_ms: float
    whole: float
    machine: float | None
    noise: tuple[str, ...]
    rows: tuple[RowDifference, ...]

    @property
    def verdict(self) -> str:
        """Whether both agree on the whole network; if not, how much of the difference the speed of the machine
        explains."""
        apart = abs(self.whole - 1)
        if apart <= _AGREE:
            return f"they agree within {apart:.1%} on the whole network"
        said = [f"they are {apart:.1%} apart on the whole network"]
        if self.machine is not None:
            left = abs(self.whole / self.machine - 1)
            said.append(
                f"the machine's reference took {self.machine:.3f} of its time before; {left:.1%} is left without that"
            )
        said += self.noise
        return "; ".join(said)


def difference(before: Profile, after: Profile) -> Difference:
    """Compares two profiles. Raises `ProfileError` when they are not of the same network."""
    if before.fingerprint != after.fingerprint:
        raise ProfileError(
            f"these are profiles of different networks: {before.model} {before.fingerprint} and {after.model} "
            f"{after.fingerprint}"
        )
    costs = [{(row.signature, row.choice): row.in_context_ms for row in profile.rows} for profile in (before, after)]
    row_keys = dict.fromkeys([*costs[0], *costs[1]])
    machine = None
    if before.conditions and after.conditions:
        machine = after.conditions.reference.latency_ms / before.conditions.reference.latency_ms
    return Difference(
        model=before.model,
        settings=tuple(before.setting.differences(after.setting)),
        before_ms=before.baseline_ms,
        after_ms=after.baseline_ms,
        whole=after.baseline_ms / before.baseline_ms,
        machine=machine,
        noise=tuple(
            f"{name}: {profile.conditions.noise}"
            for name, profile in (("before", before), ("after", after))
            if profile.conditions and profile.conditions.noise
        ),
        rows=tuple(RowDifference(*what, costs[0].get(what), costs[1].get(what)) for what in row_keys),
    )
