"""Functions of a branch's steps: run them with all padding at the front, fold them into one map, name their cost."""

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from pruner.algebra import affine
from pruner.algebra.affine import Affine
from pruner.algebra.modules import BatchNormPair
from pruner.algebra.steps import BatchNorm, Convolution, Linear, LinearPair, Step
from pruner.errors import FoldError


def run_padded_once(steps: Sequence[Step], x: Tensor, lam: float) -> Tensor:
    """Runs the steps with their gates at `lam`, with all padding at the front.

    Where a later convolution of the baseline pads with zeros there is now a ring of computed values, scaled by
    1 - lam. At lambda 1 the ring is the baseline's zeros; at 0 the steps are one convolution, borders included.

    Args:
        steps: The steps of one branch, in order.
        x: Images (B, C, H, W), or tokens (B, ..., C) where no step is a convolution.
        lam: The gate, from 1 (the baseline) to 0 (what `fold` gives).
    """
    if lam == 0:
        steps = _with_linears_joined(steps)
    rings = _rings([step.conv for step in steps if isinstance(step, Convolution)])
    if rings:
        rows, columns = rings[0]
        x = functional.pad(x, (columns, columns, rows, rows))
    for place, step in enumerate(steps):
        if not isinstance(step, Convolution):
            x = step.run(x, lam)
            continue
        rows, columns = rings.pop(0)
        if place > 0 and lam > 0 and (rows or columns):
            x = _with_ring_scaled(x, rows, columns, 1 - lam)
        x = step.run_unpadded(x)
    return x


def _with_linears_joined(steps: Sequence[Step]) -> list[Step]:
    """The steps that are left at lambda 0, where two linears in a row run as one `LinearPair`."""
    joined: list[Step] = []
    for step in steps:
        if step.is_gone:
            continue
        before = joined[-1] if joined else None
        if isinstance(step, Linear) and isinstance(before, Linear):
            joined[-1] = LinearPair(before, step)
        else:
            joined.append(step)
    return joined


def _rings(convs: Sequence[nn.Conv2d]) -> list[affine.Pair]:
    """Before each convolution, how far its input reaches beyond the baseline's: (rows, columns) on either side."""
    rings: list[affine.Pair] = []
    rows = columns = 0
    for conv in reversed(convs):
        padding: Any = conv.padding
        rows, columns = conv.stride[0] * rows + padding[0], conv.stride[1] * columns + padding[1]
        rings.insert(0, (rows, columns))
    return rings


def _with_ring_scaled(x: Tensor, rows: int, columns: int, factor: float) -> Tensor:
    mask = x.new_full(x.shape[-2:], factor)
    mask[rows : mask.shape[0] - rows, columns : mask.shape[1] - columns] = 1
    return x * mask


def fold(steps: Sequence[Step]) -> Affine:
    """Folds the steps, at lambda 0 in evaluation, into one map.

    Raises:
        FoldError: when no step does anything at lambda 0.

    Example:
        >>> from torch import nn
        >>> from pruner.algebra.branch import fold
        >>> from pruner.algebra.steps import Activation, Linear
        >>> print(fold([Linear(nn.Linear(8, 32)), Activation(nn.GELU()), Linear(nn.Linear(32, 8))]))
        1x1 8>8 stride (1, 1) padding (0, 0)
    """
    maps = [mapped for step in steps if (mapped := step.affine()) is not None]
    if not maps:
        raise FoldError(f"nothing is left of {text(steps)} to fold")
    return affine.composition(maps)


def reach(steps: Sequence[Step]) -> tuple[affine.Pair, affine.Pair]:
    """Returns the stride and the margin of the map that the steps fold to, each as (rows, columns).

    The margin is twice the padding less the side of the kernel. Two maps of equal stride and margin give images of
    equal size from every image.
    """
    stride, margin = [1, 1], [-1, -1]
    for step in steps:
        if isinstance(step, Convolution):
            padding: Any = step.conv.padding
            for axis in (0, 1):
                wider = step.conv.dilation[axis] * (step.conv.kernel_size[axis] - 1)
                margin[axis] += stride[axis] * (2 * padding[axis] - wider)
                stride[axis] *= step.conv.stride[axis]
    return (stride[0], stride[1]), (margin[0], margin[1])


def batch_norm_pairs(steps: Sequence[Step]) -> list[BatchNormPair]:
    """Returns every convolution that a BatchNorm follows directly, with that BatchNorm."""
    return [
        (before.conv, after.norm)
        for before, after in itertools.pairwise(steps)
        if isinstance(before, Convolution) and isinstance(after, BatchNorm)
        if before.why_not is None and after.why_not is None
    ]


def why_not(steps: Sequence[Step]) -> str | None:
    """Returns the first reason why the steps do not fold; None when they do."""
    return next((step.why_not for step in steps if step.why_not is not None), None)


def text(steps: Sequence[Step]) -> str:
    """Returns the settings and shapes that the cost of the steps depends on, as one line for a block's signature."""
    return ", ".join(step.text for step in steps if step.text)
