"""A table whose rows say what kernels take and what the host takes to issue them, as two tables whose rows add up."""

import dataclasses
from dataclasses import dataclass

from profiles.profile import Profile


def kernels_of(profile: Profile) -> Profile:
    """The table of the kernels alone."""
    rows = tuple(dataclasses.replace(row, host_ms=None) for row in profile.rows)
    pairs = tuple(dataclasses.replace(pair, host_ms=None) for pair in profile.pairs)
    return dataclasses.replace(profile, rows=rows, pairs=pairs)


def host_of(profile: Profile) -> Profile:
    """The table of what the host takes to issue the kernels: nothing where the table does not say."""
    low, high = max(0.0, 1 - profile.host_error), 1 + profile.host_error
    took = [(row, row.host_ms or 0.0) for row in profile.rows]
    rows = tuple(
        dataclasses.replace(row, in_context_ms=ms, low_ms=low * ms, high_ms=high * ms, floor_ms=None, host_ms=None)
        for row, ms in took
    )
    pairs = tuple(dataclasses.replace(pair, in_context_ms=pair.host_ms or 0.0, host_ms=None) for pair in profile.pairs)
    return dataclasses.replace(profile, rows=rows, pairs=pairs, relative_error=profile.host_error)


@dataclass(frozen=True)
class Bound:
    """The two sums of the uncut network, and the name of the larger: `kernels` or `host`."""

    kernels_ms: float
    host_ms: float

    @classmethod
    def of(cls, profile: Profile) -> "Bound":
        return cls(kernels_of(profile).uncut_ms, host_of(profile).uncut_ms)

    @property
    def by(self) -> str:
        return "kernels" if self.kernels_ms >= self.host_ms else "host"

    @property
    def text(self) -> str:
        """'kernels 4.210 ms, host 6.100 ms: bound by the host'."""
        return f"kernels {self.kernels_ms:.3f} ms, host {self.host_ms:.3f} ms: bound by the {self.by}"
