"""How soft masks are over a training: the temperature tau of their sigmoids."""

import math
from dataclasses import dataclass
from typing import Protocol

from pruner.errors import SettingsError


class Temperature(Protocol):
    """Tau over a training."""

    def at(self, share: float) -> float:
        """Tau when `share` of the time, in [0, 1], is over."""


@dataclass(frozen=True)
class Falling:
    """Tau falls geometrically, by the same factor at each step, from `start` to `end`."""

    start: float
    end: float

    def __post_init__(self) -> None:
        """Raises `SettingsError` unless start >= end > 0."""
        if not self.start >= self.end > 0:
            raise SettingsError(f"a temperature falls to something above 0, not from {self.start} to {self.end}")

    def at(self, share: float) -> float:
        return self.start * math.pow(self.end / self.start, share)


@dataclass(frozen=True)
class Fixed:
    """Tau stays what it is."""

    tau: float

    def __post_init__(self) -> None:
        """Raises `SettingsError` unless tau > 0."""
        if not self.tau > 0:
            raise SettingsError(f"a temperature is above 0, not {self.tau}")

    def at(self, share: float) -> float:
        return self.tau
