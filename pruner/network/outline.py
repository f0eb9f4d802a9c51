"""What a network computes, before its head and in it: the functions that it calls, with shapes and settings."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

# They compute nothing: the shapes that come of them are seen where something is computed next. Dropout is for training.
_NOT_NOTED: Final = frozenset({
    "alpha_dropout", "chunk", "clone", "contiguous", "detach", "dropout", "dropout1d", "dropout2d", "expand",
    "expand_as", "feature_alpha_dropout", "flatten", "float", "get", "getitem", "movedim", "permute", "reshape",
    "split", "squeeze", "swapaxes", "t", "to", "transpose", "type_as", "unbind", "unflatten", "unsqueeze", "view",
})  # fmt: skip


class Outline(TorchFunctionMode):
    """Notes what is called while a network runs.

    A line names a function, the shapes of what it takes, its whole numbers and words, and the shape of what comes out:
    `linear (1, 192) (1000, 192) (1000,) -> (1, 1000)`. Weights are not in it, and neither is any other number that is
    not whole (an epsilon, a momentum): these change no cost.
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        """`blocks` are the network's, in any order: what is called when the last of them is done is the head."""
        super().__init__()
        self._lines: list[str] = []
        self._last = 0
        self._blocks = list(blocks)
        self._hooks: list[RemovableHandle] = []

    @property
    def before_head(self) -> list[str]:
        """The blocks, and what stands before and between them."""
        return self._lines[: self._last]

    @property
    def head(self) -> list[str]:
        """What stands behind the last block."""
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
    """A short name for some lines: 8 hexadecimal digits of their SHA-256."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


def _in_words(value: Any) -> str:
    """A shape, whole numbers, words; nothing for anything else, nor for a switch."""
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, (tuple, list)):
        parts = [_in_words(one) for one in value]
        return f"[{' '.join(parts)}]" if all(parts) else ""
    return repr(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
