"""Members that are known by their names: devices, families, samplers, methods, strategies, criteria."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

Member = TypeVar("Member")


class Registry(Mapping[str, Member]):
    """Name -> member, in the order in which they were added.

    Args:
        what: What a member is called in a sentence.
        error: The class of the error for an unknown name.

    Example:
        >>> samplers = Registry[int]("sampler", LookupError)
        >>> samplers.add("random", 1)
        >>> samplers.known("random")
        1
        >>> samplers.known("rando")
        Traceback (most recent call last):
        LookupError: no sampler is called 'rando'; nearest: random
    """

    def __init__(self, what: str, error: type[Exception]) -> None:
        self._what, self._error = what, error
        self._members: dict[str, Member] = {}

    def add(self, name: str, member: Member) -> None:
        """Adds a member under a name. Raises `ValueError` when the name is taken."""
        if name in self._members:
            raise ValueError(f"there is a {self._what} {name!r} already")
        self._members[name] = member

    def known(self, name: str) -> Member:
        """The member of that name.

        Raises:
            Exception: of the registry's class, with the names that there are, the nearest first.
        """
        if name not in self._members:
            raise self._error(f"no {self._what} is called {name!r}; nearest: {', '.join(nearest_first(name, self))}")
        return self._members[name]

    def __getitem__(self, name: str) -> Member:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def load_members(package: str, path: Iterable[str]) -> None:
    """Imports every module of a package, so that all members in it are registered: a new member is a new file.

    Args:
        package: The package's `__name__`.
        path: The package's `__path__`.
    """
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")


def nearest_first(name: str, known: Iterable[str]) -> list[str]:
    """The known names, the one most like `name` first.

    Example:
        >>> nearest_first("gat", ["optuna", "gate"])
        ['gate', 'optuna']
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return near + [other for other in names if other not in near]
