"""Blocks named by hand: classes whose modules are blocks as a whole, whatever they compute."""

from typing import Final, TypeVar

from torch import nn

Class = TypeVar("Class", bound=type[nn.Module])
_CLASSES: Final[set[type[nn.Module]]] = set()


def register(cls: Class) -> Class:
    """Says that every module of a class is one block, as a decorator or by a call.

    It is for blocks that are not found: nothing inside is looked at, so its forward may go by the values of its input.
    Such a block is dropped, or a layer is fitted in its place; it is not merged. It has to be given one tensor, to give
    one of the same shape, and to run once.

    Args:
        cls: The class; its subclasses are not meant.

    Example:
        >>> from torch import nn
        >>> import depthfinder as df
        >>> @df.register
        ... class Gate(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Linear(8, 8)
        ...
        ...     def forward(self, x):
        ...         return x + self.layer(x) if x.mean() > 0 else x
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), Gate(), nn.Linear(8, 2))
        >>> df.describe(network, input_size=(3, 4, 4)).blocks[0].choices
        ('keep', 'drop')
    """
    _CLASSES.add(cls)
    return cls


def is_registered(module: nn.Module) -> bool:
    """Whether a module's class was registered."""
    return type(module) in _CLASSES
