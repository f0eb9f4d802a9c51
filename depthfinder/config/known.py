"""The check that a setting names something known."""

from collections.abc import Callable, Iterable

from profiles.registry import nearest_first


def one_of(what: str, known: Iterable[str]) -> Callable[[str], str]:
    """Returns a check for pydantic's `AfterValidator`: that a name is one of the known ones.

    Args:
        what: What is named, for the error, such as "strategy".
        known: The known names.

    Example:
        >>> one_of("strategy", ["optuna", "gate"])("optna")
        Traceback (most recent call last):
        ValueError: no strategy is called 'optna'; nearest: optuna, gate
    """

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"no {what} is called {name!r}; nearest: {', '.join(nearest_first(name, known))}")
        return name

    return check
