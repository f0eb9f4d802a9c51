"""The protocol of methods that find which groups can be removed, and their registry."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from torch import Tensor

from profiles.registry import Registry
from pruner.errors import UnknownMethodError

if TYPE_CHECKING:
    from pruner.masks.masked import Masked


class Method(ABC):
    """A method says what the masks are during the search, and how groups are ranked when the masks are decided.

    A method holds no state of its own. A step depends on how much of the search is over, `searched` in [0, 1], and on
    what lies in the masked network: weights, masks, supports, memory.

    Example:
        A method that keeps everything until the end, and then the groups of the largest magnitude:

        >>> from pruner.masks.methods.method import Method
        >>> class AtTheEnd(Method):
        ...     name = "at-the-end"
        ...     def masks(self, masked, searched):
        ...         return masked.support()
    """

    name: ClassVar[str]
    mask_lr_scale: float = 1.0
    """The learning rate of the masks over that of the weights."""

    def initial_masks(self, masked: "Masked") -> dict[str, Tensor]:
        """The numbers that are learned beside the weights, as they begin: part -> (entries,). None by default."""
        return {}

    def memory(self, masked: "Masked") -> dict[str, Tensor]:
        """Other tensors that the method keeps in the masked network's state, by name. None by default."""
        return {}

    def phase(self, searched: float) -> int:
        """The number of the phase that the search is in. It begins in phase 0, for which `enter` is not called."""
        return 0

    def enter(self, masked: "Masked", phase: int) -> None:  # noqa: B027  # most have one phase
        """Prepares the masked network before the first step of a phase."""

    @abstractmethod
    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        """The masks at this point of the search: part -> (entries,), what its groups are multiplied by."""

    def penalty(self, masked: "Masked", searched: float) -> Tensor | None:
        """A scalar that is added to the loss; None for nothing."""
        return None

    def on_gradients(self, masked: "Masked", searched: float) -> None:  # noqa: B027  # most need no gradients
        """Reads the gradients of a step of the search, before the weights are updated."""

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
        """The scores that the hard masks are decided by: part -> (entries,). Magnitudes by default."""
        return masked.magnitudes()


METHODS: Final = Registry[Method]("method", UnknownMethodError)
"""The registered methods by name."""


def method(cls: type[Method]) -> type[Method]:
    """Registers a method with its default settings under its name. Raises `ValueError` when the name is taken."""
    METHODS.add(cls.name, cls())
    return cls


def known_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UnknownMethodError: with the known names, when none has that name.

    Example:
        >>> from pruner.masks.methods import known_method
        >>> known_method("acdc")
        Acdc(phases=5)
    """
    return METHODS.known(name)
