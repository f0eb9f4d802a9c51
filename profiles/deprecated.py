"""Old names that still work for one release, with a warning."""

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def renamed_argument(old: str, new: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for a function with an argument that was called `old` before and is called `new` now.

    Example:
        >>> @renamed_argument("also", "extra_choices")
        ... def describe(extra_choices=()):
        ...     return extra_choices
        >>> describe(extra_choices=["fit"])
        ['fit']
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if old in kwargs:
                warnings.warn(
                    f"{function.__name__}({old}=...) is called {new} now; the old name goes with the next release",
                    DeprecationWarning,
                    stacklevel=2,
                )
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate
