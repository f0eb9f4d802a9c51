"""How long work tells that it goes on, and where it can be stopped."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called between two steps with (done, total, what was last seen); may raise, to stop the work there."""


def silent(_done: int, _total: int, _note: str) -> None:
    """Tells nobody."""
