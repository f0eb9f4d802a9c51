"""The callback by which long work reports its progress, and by which it can be stopped."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called between two steps with (steps done, steps in all, a note on the last step); it may raise to stop the work."""


def silent(_done: int, _total: int, _note: str) -> None:
    """A progress callback that reports nothing."""
