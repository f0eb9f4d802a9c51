"""What a family of networks has to know about itself, and the registry of those that exist."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from pruner.errors import UnknownModelError
from pruner.site import Site


class Family(ABC):
    """Knows where networks of one kind may be cut."""

    name: ClassVar[str]

    @abstractmethod
    def recognises(self, model: nn.Module) -> bool:
        """Whether `model` is built, and computes, the way this family expects."""

    @abstractmethod
    def open(self, model: nn.Module) -> list[Site]:
        """Puts a `Site` in place of every block of `model`, which belongs to the caller; returns them in order."""

    @abstractmethod
    def stem(self, model: nn.Module) -> nn.Module:
        """All that comes before the first block, as a module of its own."""

    @abstractmethod
    def head(self, model: nn.Module) -> nn.Module:
        """All that comes after the last block, as a module of its own."""


FAMILIES: dict[str, Family] = {}


def family(cls: type[Family]) -> type[Family]:
    """Registers a family under its name. Raises `ValueError` when the name is taken."""
    if cls.name in FAMILIES:
        raise ValueError(f"there is a family {cls.name!r} already")
    FAMILIES[cls.name] = cls()
    return cls


def family_of(model: nn.Module) -> Family:
    """The family that recognises `model`. Raises `UnknownModelError` when none does."""
    for candidate in FAMILIES.values():
        if candidate.recognises(model):
            return candidate
    raise UnknownModelError(f"{type(model).__name__} is of no family that can be cut; there are: {', '.join(FAMILIES)}")
