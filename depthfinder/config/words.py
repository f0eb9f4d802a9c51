"""Reads settings that are typed as more than a number or a word: sizes, arguments of a model, budgets, widths."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from pruner.choices.choice import SHARES

NO_WIDTHS: Final = "none"
_LARGEST_SIDE: Final = 16384
# The brackets are those of a list in an args.yaml.
_SIDES: Final = re.compile(r"\s*\[?\s*(\d{1,9})\s*(?:[x,]\s*(\d{1,9})\s*)?\]?\s*", re.ASCII)


def sides(size: Any) -> int | tuple[int, int] | None:
    """Returns a size of images: '224' -> 224; '160x320' or '160,320' -> (160, 320), height first; 'null' -> None.

    Numbers, pairs of numbers and None are returned as they are.

    Raises:
        ValueError: for anything else.

    Example:
        >>> sides("160x320"), sides(224)
        ((160, 320), 224)
    """
    if size is None or size == "null":
        return None
    text = "x".join(map(str, size)) if isinstance(size, Sequence) and not isinstance(size, str) else str(size)
    match = _SIDES.fullmatch(text)
    found = tuple(int(side) for side in match.groups() if side is not None) if match else ()
    if not found or not all(0 < side <= _LARGEST_SIDE for side in found):
        raise ValueError(
            f"{size!r} is no size of images: write 224, or height and width as 160x320 or 160,320, in pixels up to "
            f"{_LARGEST_SIDE}"
        )
    return (found[0], found[1]) if len(found) == 2 else found[0]


def height_and_width(size: Any) -> tuple[int, int] | None:
    """Returns a size of images as `sides` does, but always as a pair: '224' -> (224, 224)."""
    found = sides(size)
    return (found, found) if isinstance(found, int) else found


def model_arguments(given: Any) -> dict[str, Any]:
    """Returns the arguments of a model: ['depth=6', ...] -> {'depth': 6, ...}. A table is returned as it is.

    Raises:
        ValueError: for a text that is not of the form name=value.

    Example:
        >>> model_arguments(["depth=6", "norm_layer=LayerNorm"])
        {'depth': 6, 'norm_layer': 'LayerNorm'}
    """
    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"{pair!r} is not of the form name=value")
        found[name] = value if name == "img_size" else _typed_value(value)
    return found


def _typed_value(text: str) -> Any:
    """The value as JSON (YAML 1.1 takes 1e-5 for a word), else as YAML reads it: True, None, a word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return yaml.safe_load(text)


def budgets_of(text: str, device: str) -> dict[str, float]:
    """Returns device -> budget in milliseconds.

    Args:
        text: '25', or for several devices 'ort-cpu=20,mi100=3.2'.
        device: The device that a budget without a name is for.

    Raises:
        ValueError: for a budget that is no positive number, or a device that is named twice.

    Example:
        >>> budgets_of("25", "ort-cpu"), budgets_of("ort-cpu=20,mi100=3.2", "ort-cpu")
        ({'ort-cpu': 25.0}, {'ort-cpu': 20.0, 'mi100': 3.2})
    """
    if "=" not in text:
        return {device: _milliseconds(text)}
    budgets: dict[str, float] = {}
    for part in text.split(","):
        name, _, figure = part.partition("=")
        if not name.strip() or name.strip() in budgets:
            raise ValueError(f"{text!r} does not name every device once: write ort-cpu=20,mi100=3.2")
        budgets[name.strip()] = _milliseconds(figure)
    return budgets


def _milliseconds(text: str) -> float:
    try:
        figure = float(text)
    except ValueError:
        figure = math.nan
    if not (math.isfinite(figure) and figure > 0):
        raise ValueError(f"{text!r} is not a positive number of milliseconds: write 3.2")
    return figure


def shares_of(widths: str) -> tuple[str, ...]:
    """Returns the choices of inner widths; none for 'none'.

    Example:
        >>> shares_of("75,50")
        ('narrow-75', 'narrow-50')
    """
    return () if widths == NO_WIDTHS else tuple(f"narrow-{one.strip()}" for one in widths.split(","))


def known_widths(widths: str) -> str:
    """Returns the widths as they are. Raises `ValueError` for a width that blocks do not offer."""
    for share in shares_of(widths):
        if share not in SHARES:
            width, *known = (one.removeprefix("narrow-") for one in (share, *SHARES))
            raise ValueError(f"{width}: there are {', '.join(known)}, and none for none of them")
    return widths
