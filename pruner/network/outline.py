"""The outline of a network: the functions that it calls, with shapes and settings, up to its head and in its head."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

# These compute nothing: the shapes that they give are noted where they enter the next computation. Dropout is for
# training alone.
_NOT_NOTED: Final = frozenset({
    "alpha_dropout", "chunk", "clone", "contiguous", "detach", "dropout", "dropout1d", "dropout2d", "expand",
    "expand_as", "feature_alpha_dropout", "flatten", "float", "get", "getitem", "movedim", "permute", "reshape",
    "split", "squeeze", "swapaxes", "t", "to", "transpose", "type_as", "unbind", "unflatten", "unsqueeze", "view",
})  # fmt: skip


class Outline(TorchFunctionMode):
    """A context that notes the functions which a network calls while it runs.

    A line names a function, the shapes of its inputs, its integer and string arguments, and the shape of its output:
    `linear (1, 192) (1000, 192) (1000,) -> (1, 1000)`. Weights are not noted, nor numbers that are not whole (an
    epsilon, a momentum): these do not change the cost.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from pruner.network.outline import Outline
        >>> network = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
        >>> inputs = torch.ones(1, 8)
        >>> with Outline([network[0]]) as outline:
        ...     outputs = network(inputs)
        >>> outline.before_head
        ['linear (1, 8) (4, 8) (4,) -> (1, 4)']
        >>> outline.head
        ['linear (1, 4) (2, 4) (2,) -> (1, 2)']
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        """Takes the blocks of the network, in any order: the head is all that runs after the last of them."""
        super().__init__()
        self._lines: list[str] = []
        self._last = 0
        self._blocks = list(blocks)
        self._hooks: list[RemovableHandle] = []

    @property
    def lines(self) -> list[str]:
        """All lines so far."""
        return self._lines

    @property
    def before_head(self) -> list[str]:
        """The lines of the blocks, and of what stands before and between them."""
        return self._lines[: self._last]

    @property
    def head(self) -> list[str]:
        """The lines of what stands behind the last block."""
        return self._lines[self._last :]

    def __enter__(self) -> "Outline":
        self._hooks = [block.register_forward_hook(self._leave) for block in self._blocks]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        result = function(*arguments, **named or {})
        name = getattr(function, "__name__", type(function).__name__).strip("_")
        if name not in _NOT_NOTED and isinstance(result, Tensor):
            given = filter(None, map(_in_words, (*arguments, *(named or {}).values())))
            self._lines.append(" ".join([name, *given, "->", _in_words(result)]))
        return result

    def _leave(self, *_: Any) -> None:
        self._last = len(self._lines)


def digest(lines: Sequence[str]) -> str:
    """Returns a short name for some lines: the first 8 hexadecimal digits of their SHA-256."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


def _in_words(value: Any) -> str:
    """A shape, an integer or a string in words; empty for anything else, a boolean included."""
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, (tuple, list)):
        parts = [_in_words(one) for one in value]
        return f"[{' '.join(parts)}]" if all(parts) else ""
    return repr(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
