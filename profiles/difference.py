"""Two profiles of one network beside each other."""

from dataclasses import dataclass
from typing import Final

from profiles.errors import ProfileError
from profiles.profile import Profile

_AGREE: Final = 0.03


@dataclass(frozen=True)
class RowDifference:
    """One (signature, choice) in both, in ms; None where one of them lacks it."""

    signature: str
    choice: str
    before_ms: float | None
    after_ms: float | None


@dataclass(frozen=True)
class Difference:
    """`whole` compares the uncut networks, `machine` the reference kernel's time (None where one was not measured):
    both are after / before. `settings` is in what the settings differ, `noise` what disturbed either."""

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
        """Whether both agree on the whole network, and if not, what speaks for the machine's being the reason."""
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
    """Raises `ProfileError` when they are not of the same network."""
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
