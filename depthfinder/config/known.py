"""Names that a setting may have."""

from collections.abc import Callable, Iterable

from profiles.registry import nearest_first


def one_of(what: str, known: Iterable[str]) -> Callable[[str], str]:
    """A check, for pydantic's `AfterValidator`, that a name is one of those that are known.

    >>> one_of("strategy", ["optuna", "gate"])("optna")
    Traceback (most recent call last):
    ValueError: no strategy is called 'optna'; nearest: optuna, gate
    """

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"no {what} is called {name!r}; nearest: {', '.join(nearest_first(name, known))}")
        return name

    return check
