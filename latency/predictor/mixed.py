"""Lists the operators that a network runs under automatic mixed precision (AMP).

Matrix products run in half precision, norms and softmax in single precision, with casts between them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from latency.predictor.listen import Listener, Operator, listened

# As `torch.autocast` has it on CUDA; whatever is in neither runs in the widest type of what it is given.
_IN_HALF: Final = {
    "conv1d", "conv2d", "conv3d", "linear", "matmul", "__matmul__", "bmm", "baddbmm", "addmm", "mm", "einsum",
}  # fmt: skip
_IN_SINGLE: Final = {
    "layer_norm",
    "rms_norm",
    "group_norm",
    "softmax",
    "log_softmax",
    "exp",
    "log",
    "pow",
    "rsqrt",
    "sum",
    "norm",
}
_HALF_BYTES, _SINGLE_BYTES = 2, 4


@dataclass(frozen=True)
class MixedOperators:
    """The operators of a network under mixed precision.

    Attributes:
        half: The operators in half precision.
        single: The operators in single precision.
    """

    half: tuple[Operator, ...]
    single: tuple[Operator, ...]


def mixed_operators_of(module: nn.Module, example: Tensor) -> MixedOperators:
    """Returns the operators that a module runs under `torch.autocast("cuda", torch.float16)`.

    No GPU is needed; on the device `meta` nothing is even computed. Every cast, of weights too, is an operator.
    Attention is one kernel there: its two products are listed, and what is between them reaches no memory.

    Args:
        module: The module. It is not changed.
        example: (B, ...), its input.
    """
    listener = _ByPrecision()
    with _Autocast(listener):
        listened(module, listener, example)
    return MixedOperators(tuple(listener.half), tuple(listener.operators))


class _Autocast(TorchFunctionMode):
    """Casts arguments as `torch.autocast` does on CUDA, on any device."""

    def __init__(self, listener: "_ByPrecision") -> None:
        super().__init__()
        self._listener = listener

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            return self._attention(*args[:3])
        if name in _IN_HALF:
            args, kwargs = _cast(args, kwargs, torch.float32, torch.float16)
        elif name in _IN_SINGLE:
            args, kwargs = _cast(args, kwargs, torch.float16, torch.float32)
        return func(*args, **(kwargs or {}))

    def _attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Notes the two products of an attention: (..., N, D), (..., M, D) and (..., M, E) -> (..., N, E), whose values
        are undefined."""
        heads, (n, d), (m, e) = math.prod(query.shape[:-2]), query.shape[-2:], value.shape[-2:]
        self._listener.half += [Operator("bmm", (heads, n, m, d)), Operator("bmm", (heads, n, e, m))]
        return query.new_empty(*query.shape[:-1], e, dtype=torch.float16)


def _cast(
    args: Sequence[Any], kwargs: Mapping[str, Any] | None, of: torch.dtype, to: torch.dtype
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    def one(value: Any) -> Any:
        return value.to(to) if isinstance(value, Tensor) and value.dtype == of else value

    return [one(value) for value in args], {name: one(value) for name, value in (kwargs or {}).items()}


class _ByPrecision(Listener):
    """Notes operators with output in half precision separately; tensors of another precision count by their bytes."""

    fuses_attention = True

    def __init__(self) -> None:
        super().__init__()
        self.half: list[Operator] = []

    def note(self, operator: Operator, args: Sequence[Any], output: Tensor) -> None:
        """Notes one operator among those of its precision."""
        in_half = output.dtype == torch.float16
        if operator.kind == "elementwise":
            whole = [one for one in (*args, output) if isinstance(one, Tensor) and one.numel() == output.numel()]
            tensors = sum(one.element_size() for one in whole) / (_HALF_BYTES if in_half else _SINGLE_BYTES)
            rows, width, _, costly = operator.dims
            operator = Operator("elementwise", (rows, width, max(1.5, tensors), costly))
        (self.half if in_half else self.operators).append(operator)
