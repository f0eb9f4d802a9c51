"""The protocol of criteria, which estimate the harm of cuts without training, and their registry."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final

from profiles.registry import Registry
from pruner.errors import SettingsError
from pruner.network.surgery import OpenNetwork


class Criterion(ABC):
    """Estimates the harm of every cut of a network, without training it.

    Example:
        A criterion by which all cuts do the same harm:

        >>> from pruner.criteria import Criterion
        >>> class Alike(Criterion):
        ...     name = "alike"
        ...     def harm_of_cuts(self, network):
        ...         cuts = ((name, c) for name, site in network.sites.items() for c in site.block.choices)
        ...         return {cut: 0.0 if cut[1] == "keep" else 1.0 for cut in cuts}
    """

    name: ClassVar[str]

    @abstractmethod
    def harm_of_cuts(self, network: OpenNetwork) -> Mapping[tuple[str, str], float]:
        """Estimates the harm of every cut.

        Returns:
            (block, choice) -> the harm of cutting the block so, in no particular unit; 0 for keeping it.
        """


CRITERIA: Final = Registry[Criterion]("criterion", SettingsError)
"""The registered criteria by name."""


def criterion(cls: type[Criterion]) -> type[Criterion]:
    """Registers a criterion under its name, which is also the name of its file. Raises `ValueError` when the name is
    taken."""
    CRITERIA.add(cls.name, cls())
    return cls


def known_criterion(name: str) -> Criterion:
    """The criterion of that name.

    Raises:
        SettingsError: with the known names, when none has that name.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> from pruner.criteria import known_criterion
        >>> from pruner.network.surgery import OpenNetwork
        >>> harms = known_criterion("dimap").harm_of_cuts(OpenNetwork(small_network()))
        >>> harms["blocks.0.mlp", "keep"] < harms["blocks.0.mlp", "merge"] < harms["blocks.0.mlp", "drop"]
        True
    """
    return CRITERIA.known(name)
