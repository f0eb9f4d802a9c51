"""Roots of rising functions, many at once: Newton's method within a bracket that halves where Newton fails."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

Rising = Callable[[Tensor], tuple[Tensor, Tensor]]
"""t (...) -> the values there and their derivatives, which are not negative."""

_MOST_STEPS: Final = 200
_TOLERANCE: Final = 1e-13


def rising_root(function: Rising, low: Tensor, high: Tensor, start: Tensor) -> Tensor:
    """t (...) in float64 where `function` is zero, each between its `low` and `high` (...), where it is not positive
    and not negative; looked for from `start` (...) on.

    The bracket gets narrower with every step, by Newton's where that stays inside and at least halves the value, else
    by half, so that flat stretches, of which soft selections have many at low temperatures, do no harm.
    """
    t = torch.minimum(torch.maximum(start, low), high)
    before = torch.full_like(t, torch.inf)
    for _ in range(_MOST_STEPS):
        value, slope = function(t)
        low, high = torch.where(value < 0, t, low), torch.where(value > 0, t, high)
        middle = (low + high) / 2
        found = (value.abs() <= _TOLERANCE) | (middle <= low) | (middle >= high)
        if bool(found.all()):
            break
        newton = t - value / slope
        helps = (newton > low) & (newton < high) & (value.abs() <= before / 2)
        before = value.abs()
        t = torch.where(found, t, torch.where(helps, newton, middle))
    return t
