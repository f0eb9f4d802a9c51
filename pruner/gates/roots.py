"""Roots of rising functions, many at once: Newton's method within a bracket that halves where Newton fails."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

Rising = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Arguments t (...) -> the values of a function there, and its derivatives, which are not negative."""

_MOST_STEPS: Final = 200
_TOLERANCE: Final = 1e-13


def rising_root(function: Rising, low: Tensor, high: Tensor, start: Tensor) -> Tensor:
    """Finds the roots of many rising functions at once.

    A step is Newton's where that stays inside the bracket and the value was at least halved, and halves the bracket
    otherwise. So flat stretches do no harm, of which soft selections have many at low temperatures.

    Args:
        function: Gives the values and the derivatives at t (...), in float64.
        low: (...) where the function is not positive.
        high: (...) where the function is not negative.
        start: (...) where the search begins.

    Returns:
        (...) the roots in float64, each between its `low` and `high`.

    Example:
        >>> import torch
        >>> from pruner.gates.roots import rising_root
        >>> low, high = torch.zeros(2, dtype=torch.float64), torch.full((2,), 4.0, dtype=torch.float64)
        >>> squares = torch.tensor([4.0, 9.0], dtype=torch.float64)
        >>> rising_root(lambda t: (t**2 - squares, 2 * t), low, high, start=high).round(decimals=6).tolist()
        [2.0, 3.0]
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
