"""How far apart rounding may bring two evaluations of one function: the one place that bounds come from.

The terms of a sum are rounded in an order that is the processor's own: how many numbers its registers hold, whether it
multiplies and adds in one, how a library cuts a matrix into blocks. So a bound must not be read off one processor.

One sum of n products x_i w_i, added up in whatever order, is the exact sum of x_i w_i (1 + d_i) with |d_i| <= n u,
u half the spacing `eps` of floats at 1 (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, sections
3.1 and 3.5): `of_a_sum`.

A network is a long row of such sums, and worst cases in all of them at once would bound nothing. Roundings are as good
as independent (Higham and Mary, SIAM Journal on Scientific Computing 41, 2019). With terms of either sign and of size
s, partial sums grow like s sqrt(k), each is rounded by u / sqrt(3) of itself, and after n of them the sum is off by
s u n / sqrt(6): one number after the other, the worst order there is. `of_a_network` runs the network in float64 with
each term moved by up to sqrt(n) eps of itself, evenly drawn, which moves the sum by s eps n / sqrt(3): 2.8 times as
much. How far the outputs move by that, whichever layers magnify it, and 4 times that, is the bound.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

# An elementary function is right within a few units in the last place.
_FEWEST_TERMS: Final = 4
_ROOM: Final = 4
_MOVES_NOTHING: Final = frozenset({
    "view", "_unsafe_view", "expand", "permute", "transpose", "t", "unsqueeze", "squeeze", "select", "slice", "split",
    "split_with_sizes", "unbind", "detach", "alias", "as_strided", "chunk", "cat", "clone", "constant_pad_nd", "copy_",
    "max_pool2d_with_indices", "relu", "relu_", "hardtanh", "empty", "full", "zeros", "ones", "arange",
})  # fmt: skip


def of_a_sum(terms: int, magnitude: float, dtype: torch.dtype = torch.float32) -> float:
    """The most that two orders of adding up `terms` numbers, of absolute values that sum to `magnitude`, can differ."""
    return terms * torch.finfo(dtype).eps * magnitude


def of_a_network(network: nn.Module, images: Tensor, dtype: torch.dtype = torch.float32) -> float:
    """How far a network's outputs in `dtype` may be from its exact ones, relative to the largest of them: 4 times as
    far as they move in float64 when all that is multiplied and added is moved as its rounding might."""
    exact = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        expected = exact(images.double())
        with _Rounded(torch.finfo(dtype).eps):
            moved = exact(images.double())
    return _ROOM * float((moved - expected).abs().max() / expected.abs().max())


class _Rounded(TorchDispatchMode):
    """Moves whatever an operator makes sums of n terms of by up to sqrt(n) eps of itself."""

    def __init__(self, eps: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._eps = eps
        self._random = torch.Generator().manual_seed(0)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name not in _MOVES_NOTHING:
            size = math.sqrt(terms(name, args)) * self._eps
            fixed = int(func._schema.is_mutable)  # what is written in place is written in its own place
            moved = (self._moved(one, size) if isinstance(one, Tensor) else one for one in args[fixed:])
            args = (*args[:fixed], *moved)
        return func(*args, **(kwargs or {}))

    def _moved(self, tensor: Tensor, size: float) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        drawn = torch.rand(tensor.shape, generator=self._random, dtype=tensor.dtype)
        return tensor * (1 + size * (2 * drawn - 1))


def terms(name: str, args: tuple[Any, ...]) -> int:
    """How many numbers an operator adds up for each that it gives."""
    if name in ("mm", "bmm"):
        return int(args[0].shape[-1])
    if name in ("addmm", "baddbmm"):
        return int(args[1].shape[-1]) + 1
    if name == "convolution":
        return int(args[1][0].numel()) + 1
    if name == "native_layer_norm":
        return math.prod(args[1])
    if name == "native_group_norm":
        return int(args[0][0].numel()) // int(args[6])
    if name in ("_softmax", "sum", "mean"):
        return max(_FEWEST_TERMS, int(args[0][0].numel()))
    if "scaled_dot_product" in name:
        return int(args[0].shape[-1]) + int(args[1].shape[-2])
    return _FEWEST_TERMS
