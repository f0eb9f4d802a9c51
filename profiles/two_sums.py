"""Which of a table's two sums bounds the uncut network: what its kernels take, or what the host takes to issue them."""

from dataclasses import dataclass

from profiles.profile import Profile


@dataclass(frozen=True)
class Bound:
    """The two sums of the uncut network, and the name of the larger: `kernels` or `host`."""

    kernels_ms: float
    host_ms: float

    @classmethod
    def of(cls, profile: Profile) -> "Bound":
        return cls(profile.kernels.uncut_ms, profile.host.uncut_ms)

    @property
    def by(self) -> str:
        return "kernels" if self.kernels_ms >= self.host_ms else "host"

    @property
    def text(self) -> str:
        """'kernels 4.210 ms, host 6.100 ms: bound by the host'."""
        return f"kernels {self.kernels_ms:.3f} ms, host {self.host_ms:.3f} ms: bound by the {self.by}"
