"""Which sum bounds the uncut network: what its kernels take, or what the host takes to issue them."""

from dataclasses import dataclass

from profiles.profile import Profile


@dataclass(frozen=True)
class Bound:
    """The sums of the uncut network over its kernels and over the host, in milliseconds."""

    kernels_ms: float
    host_ms: float

    @classmethod
    def of(cls, profile: Profile) -> "Bound":
        """The two sums of a table that has figures of both."""
        return cls(profile.kernels.uncut_ms, profile.host.uncut_ms)

    @property
    def by(self) -> str:
        """The name of the larger sum: `kernels` or `host`."""
        return "kernels" if self.kernels_ms >= self.host_ms else "host"

    @property
    def text(self) -> str:
        """Both sums in words: 'kernels 4.210 ms, host 6.100 ms: bound by the host'."""
        return f"kernels {self.kernels_ms:.3f} ms, host {self.host_ms:.3f} ms: bound by the {self.by}"
