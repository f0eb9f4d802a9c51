"""How soft masks and gates are over a training: the temperature tau of their sigmoids."""

import math
from dataclasses import dataclass
from typing import Protocol

from pruner.errors import SettingsError


class Temperature(Protocol):
    """The temperature tau over a training."""

    def at(self, share: float) -> float:
        """The temperature after `share` of the time, in [0, 1]."""


@dataclass(frozen=True)
class Falling:
    """A temperature that falls geometrically, by the same factor at each step, from `start` to `end`.

    Example:
        >>> from pruner.gates.temperature import Falling
        >>> [round(Falling(0.1, 0.001).at(share), 4) for share in (0, 0.5, 1)]
        [0.1, 0.01, 0.001]
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        """Raises `SettingsError` unless start >= end > 0."""
        if not self.start >= self.end > 0:
            raise SettingsError(f"a temperature falls to something above 0, not from {self.start} to {self.end}")

    def at(self, share: float) -> float:
        """The temperature after `share` of the time, in [0, 1]."""
        return self.start * math.pow(self.end / self.start, share)


@dataclass(frozen=True)
class Fixed:
    """A temperature that stays the same."""

    tau: float

    def __post_init__(self) -> None:
        """Raises `SettingsError` unless tau > 0."""
        if not self.tau > 0:
            raise SettingsError(f"a temperature is above 0, not {self.tau}")

    def at(self, share: float) -> float:
        """The temperature, whatever `share` of the time is over."""
        return self.tau
