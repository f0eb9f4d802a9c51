"""The interface of a family of networks, and the registry of all families."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, TypeVar

from torch import nn

from profiles.registry import Registry
from pruner.algebra.flow import Part, in_turn
from pruner.algebra.modules import BatchNormPair
from pruner.choices.site import Site
from pruner.errors import UnknownModelError

Network = TypeVar("Network", bound=nn.Module)


class Family(ABC):
    """A kind of networks: it recognises them, and knows where they may be cut.

    A new family is a file in `pruner/families/` with a subclass under `@family`.

    Attributes:
        name: The name under which the family is registered, such as "vit".
        refused: Module path -> why no block was found in that module, for those where one was looked for.
    """

    name: ClassVar[str]
    refused: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def recognises(self, model: nn.Module) -> bool:
        """Returns whether `model` is built, and computes, as this family expects."""

    @abstractmethod
    def open(self, model: nn.Module) -> list[Site]:
        """Puts a `Site` in place of every block of `model`, in place, and returns the sites in order."""

    @abstractmethod
    def segments(self, model: nn.Module) -> dict[str, nn.Module]:
        """Returns an opened model as modules that run one after another, and that share their weights with it.

        Args:
            model: A model that `open` has put sites into.

        Returns:
            Name -> module, in order: the site of each block under the block's name, and "stem", "head" and the like for
            what stands before, between and after the blocks.
        """

    def parts(self, model: nn.Module) -> list[Part]:
        """Returns an opened model as parts that run in order, each on what those before it gave.

        They are the segments, each of which takes what the one before gives, unless a family knows better.

        Args:
            model: A model that `open` has put sites into.
        """
        return in_turn(self.segments(model))

    def batch_norm_pairs(self, model: nn.Module) -> list[BatchNormPair]:
        """Returns the BatchNorms outside the blocks, each with the convolution that it follows directly."""
        return []


FAMILIES: Final = Registry[Family]("family", UnknownModelError)
"""Every family by its name."""


def family(cls: type[Family]) -> type[Family]:
    """Registers a family under its name, as a decorator. Raises `ValueError` when the name is taken."""
    FAMILIES.add(cls.name, cls())
    return cls


def family_of(model: nn.Module) -> Family | None:
    """Returns the family that recognises `model`; None when none does.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> from pruner.families import family_of
        >>> family_of(small_network()).name
        'vit'
    """
    return next((candidate for candidate in FAMILIES.values() if candidate.recognises(model)), None)


def runs_like(model: nn.Module, cls: type[nn.Module]) -> bool:
    """Returns whether `model` is of class `cls`, or of a subclass that has the same forward methods."""
    methods = ("forward", "forward_features", "forward_head")
    return isinstance(model, cls) and all(getattr(type(model), name) is getattr(cls, name) for name in methods)


def without(model: Network, *names: str) -> Network:
    """Returns a copy of `model` over the same weights, without the submodules and parameters of these names.

    An identity takes the place of such a submodule, None that of a parameter. Names that the model lacks are ignored.
    """
    bare = copy.copy(model)
    bare.__dict__ |= {table: dict(getattr(model, table)) for table in ("_modules", "_parameters", "_buffers")}
    for name in names:
        if bare._modules.get(name) is not None:
            bare._modules[name] = nn.Identity()
        elif name in bare._parameters:
            bare._parameters[name] = None
    return bare
