"""What finds out which groups can go: the protocol, and the registry of the methods that are known."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from torch import Tensor

from profiles.registry import Registry
from pruner.errors import UnknownMethodError

if TYPE_CHECKING:
    from pruner.masks.masked import Masked


class Method(ABC):
    """What the masks are while they are searched for, and how groups are ranked when they are decided.

    A method remembers nothing itself: what a step depends on is how much of the search is over, `searched` in [0, 1],
    and what lies in the masked network: weights, masks, supports, memory.
    """

    name: ClassVar[str]
    mask_lr_scale: float = 1.0
    """How much faster masks learn than weights."""

    def initial_masks(self, masked: "Masked") -> dict[str, Tensor]:
        """Part -> (entries,): what is learned beside the weights; nothing by default."""
        return {}

    def memory(self, masked: "Masked") -> dict[str, Tensor]:
        """Name -> what else is kept in the state; nothing by default."""
        return {}

    def phase(self, searched: float) -> int:
        """Which phase of the search it is. The first is 0, and is entered without a word."""
        return 0

    def enter(self, masked: "Masked", phase: int) -> None:  # noqa: B027  # most have one phase
        """What is done once, before the first step of a phase."""

    @abstractmethod
    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        """Part -> (entries,): what its groups are multiplied by."""

    def penalty(self, masked: "Masked", searched: float) -> Tensor | None:
        """A scalar beside the loss; None for none."""
        return None

    def on_gradients(self, masked: "Masked", searched: float) -> None:  # noqa: B027  # most need no gradients
        """Looks at the gradients of a step of the search, before the weights take it."""

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
        """Part -> (entries,): what the hard masks are chosen by. Magnitudes, unless a method knows better."""
        return masked.magnitudes()


METHODS: Final = Registry[Method]("method", UnknownMethodError)


def method(cls: type[Method]) -> type[Method]:
    """Registers a method under its name, with its own settings. Raises `ValueError` when the name is taken."""
    METHODS.add(cls.name, cls())
    return cls


def known_method(name: str) -> Method:
    """Raises `UnknownMethodError` with the names there are."""
    return METHODS.known(name)
