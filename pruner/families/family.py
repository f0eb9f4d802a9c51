"""What a family of networks has to know about itself, and the registry of those that exist."""

import copy
from abc import ABC, abstractmethod
from typing import ClassVar, Final, TypeVar

from torch import nn

from profiles.registry import Registry
from pruner.algebra.modules import BatchNormPair
from pruner.choices.site import Site
from pruner.errors import UnknownModelError

Network = TypeVar("Network", bound=nn.Module)


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
    def segments(self, model: nn.Module) -> dict[str, nn.Module]:
        """An opened model as modules that run one after another, by name: what stands before, between and after the
        blocks, and each block's site under the block's own name. They share their weights with the model."""

    def batch_norm_pairs(self, model: nn.Module) -> list[BatchNormPair]:
        """The BatchNorms outside the blocks, each with the convolution that it follows directly."""
        return []


FAMILIES: Final = Registry[Family]("family", UnknownModelError)


def family(cls: type[Family]) -> type[Family]:
    """Registers a family under its name. Raises `ValueError` when the name is taken."""
    FAMILIES.add(cls.name, cls())
    return cls


def family_of(model: nn.Module) -> Family:
    """The family that recognises `model`. Raises `UnknownModelError` when none does."""
    for candidate in FAMILIES.values():
        if candidate.recognises(model):
            return candidate
    raise UnknownModelError(f"{type(model).__name__} is of no family that can be cut; there are: {', '.join(FAMILIES)}")


def runs_like(model: nn.Module, cls: type[nn.Module]) -> bool:
    """Whether `model` is of that class, or of one below it that runs in the same way."""
    methods = ("forward", "forward_features", "forward_head")
    return isinstance(model, cls) and all(getattr(type(model), name) is getattr(cls, name) for name in methods)


def without(model: Network, *names: str) -> Network:
    """`model` over the same weights, without the submodules and parameters of these names, where it has them."""
    bare = copy.copy(model)
    bare.__dict__ |= {table: dict(getattr(model, table)) for table in ("_modules", "_parameters", "_buffers")}
    for name in names:
        if bare._modules.get(name) is not None:
            bare._modules[name] = nn.Identity()
        elif name in bare._parameters:
            bare._parameters[name] = None
    return bare
