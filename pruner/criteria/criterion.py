"""What can be said of the harm of cuts without training: the protocol, and the registry of those that are known."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final

from profiles.registry import Registry
from pruner.errors import SettingsError
from pruner.network.surgery import OpenNetwork


class Criterion(ABC):
    """Holds every cut of a network to do so much harm.

    Example:
        One that holds every cut to do as much as any other:

        >>> class Alike(Criterion):
        ...     name = "alike"
        ...     def harm_of_cuts(self, network):
        ...         cuts = ((name, c) for name, site in network.sites.items() for c in site.block.choices)
        ...         return {cut: 0.0 if cut[1] == "keep" else 1.0 for cut in cuts}
    """

    name: ClassVar[str]

    @abstractmethod
    def harm_of_cuts(self, network: OpenNetwork) -> Mapping[tuple[str, str], float]:
        """(block, choice) -> what cutting the block so is held to harm, in no particular unit; 0 for keeping it."""


CRITERIA: Final = Registry[Criterion]("criterion", SettingsError)


def criterion(cls: type[Criterion]) -> type[Criterion]:
    """Registers a criterion under its name, which is also its file's. Raises `ValueError` when the name is taken."""
    CRITERIA.add(cls.name, cls())
    return cls


def known_criterion(name: str) -> Criterion:
    """Raises `SettingsError` with the names there are."""
    return CRITERIA.known(name)
