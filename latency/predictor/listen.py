"""Lists the operators that a module runs, by listening while it runs once."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

# Views and bookkeeping: no number is computed or moved.
_NO_WORK: Final = {
    "view", "_unsafe_view", "expand", "permute", "transpose", "t", "unsqueeze", "squeeze", "select", "slice", "split",
    "unbind", "detach", "alias", "as_strided", "empty", "new_empty", "chunk", "split_with_sizes",
}  # fmt: skip
_COSTLY: Final = {"gelu", "exp", "tanh", "sigmoid", "silu", "erf", "hardswish", "mish", "softplus", "elu"}
_ROW_BY_ROW: Final = {"native_layer_norm", "native_group_norm", "mean"}


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        kind: The kind of operator, one of `latency.predictor.kinds.KINDS`.
        dims: The dimensions of that kind, in the order of `OperatorKind.dims`.
    """

    kind: str
    dims: tuple[float, ...]


def operators_of(module: nn.Module, *inputs: Tensor) -> tuple[Operator, ...]:
    """Returns the operators that a module runs; attention is counted as two products and a softmax.

    Args:
        module: The module. It is not changed.
        inputs: (B, ...), its inputs.

    Example:
        >>> operators_of(nn.Sequential(nn.Linear(8, 32), nn.GELU()), torch.zeros(4, 8))
        (Operator(kind='linear', dims=(1.0, 4, 32, 8)), Operator(kind='elementwise', dims=(4.0, 32, 2.0, 1.0)))
    """
    listener = Listener()
    listened(module, listener, *inputs)
    return tuple(listener.operators)


def listened(module: nn.Module, listener: "Listener", *inputs: Tensor) -> None:
    """Runs a copy of a module once while a listener notes its operators.

    Args:
        module: The module. It is not changed.
        listener: Notes the operators; it also says whether attention runs fused.
        inputs: (B, ...), its inputs.
    """
    plain = copy.deepcopy(module).eval()
    for part in plain.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = listener.fuses_attention  # type: ignore[assignment]
    with listener, torch.no_grad():
        plain(*inputs)


class Listener(TorchDispatchMode):
    """Notes the operators that run inside its `with` block.

    Attributes:
        operators: The operators so far, in running order.
    """

    fuses_attention = False
    """Whether attention is to run as one fused operator, and not as products and a softmax."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[Operator] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name not in _NO_WORK:
            output = result[0] if isinstance(result, (tuple, list)) else result
            self.note(_operator(name, args, output), args, output)
        return result

    def note(self, operator: Operator, args: Sequence[Any], output: Tensor) -> None:
        """Notes one operator.

        Args:
            operator: The operator that ran.
            args: Its arguments.
            output: Its first output.
        """
        self.operators.append(operator)


def _operator(name: str, args: tuple[Any, ...], output: Tensor) -> Operator:
    if name in ("addmm", "mm"):
        left, right = args[1:3] if name == "addmm" else args[:2]
        return Operator("linear", (1.0, left.shape[0], right.shape[1], left.shape[1]))
    if name in ("bmm", "baddbmm"):
        left, right = args[:2] if name == "bmm" else args[1:3]
        return Operator("bmm", (left.shape[0], left.shape[1], right.shape[2], left.shape[2]))
    if name == "convolution":
        return _convolution(*args[:5], groups=args[8])
    if name == "_softmax":
        return Operator("softmax", (args[0].numel() / args[0].shape[args[1]], args[0].shape[args[1]]))
    if name in _ROW_BY_ROW:
        width = math.prod(args[1]) if name == "native_layer_norm" else args[0].shape[-1]
        return Operator("ln", (args[0].numel() / width, width))
    whole = [one for one in (*args, output) if isinstance(one, Tensor) and one.numel() == output.numel()]
    width = output.shape[-1] if output.dim() else 1
    costly = float(name.rstrip("_") in _COSTLY)
    return Operator("elementwise", (output.numel() / width, width, max(2.0, len(whole)), costly))


def _convolution(
    image: Tensor, weight: Tensor, _bias: Tensor | None, stride: Sequence[int], padding: Sequence[int], *, groups: int
) -> Operator:
    """Describes a convolution; a kernel or image that is not square counts as a square of equal area."""
    kernel = math.sqrt(math.prod(weight.shape[2:]))
    size = math.sqrt(math.prod(image.shape[2:]))
    sides = (kernel, size, float(stride[0]), float(padding[0]))
    return Operator("conv", (image.shape[0], image.shape[1], weight.shape[0], *sides, groups))
