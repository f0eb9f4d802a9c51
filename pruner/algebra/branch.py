"""A row of steps taken together: run with all its padding at the front, folded into one map, compared with others."""

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
    """The steps with their gates at `lam`, all padding at the front.

    Where a later convolution of the baseline pads with zeros there is now a ring of computed values, scaled by
    1 - lam: at lambda 1 it is the baseline's zeros, at 0 the steps are one convolution, borders included.
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
    """At lambda 0, two linears that nothing stands between any more are one."""
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
    """The steps at lambda 0 as one map. Raises `FoldError` when none of them does anything then."""
    maps = [mapped for step in steps if (mapped := step.affine()) is not None]
    if not maps:
        raise FoldError(f"nothing is left of {text(steps)} to fold")
    return affine.composition(maps)


def reach(steps: Sequence[Step]) -> tuple[affine.Pair, affine.Pair]:
    """(stride, margin) of the map the steps fold to; two of equal reach give images of equal size from every image."""
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
    """Every convolution that a BatchNorm follows directly, and that BatchNorm."""
    return [
        (before.conv, after.norm)
        for before, after in itertools.pairwise(steps)
        if isinstance(before, Convolution) and isinstance(after, BatchNorm)
        if before.why_not is None and after.why_not is None
    ]


def why_not(steps: Sequence[Step]) -> str | None:
    """The first reason why the steps do not fold."""
    return next((step.why_not for step in steps if step.why_not is not None), None)


def text(steps: Sequence[Step]) -> str:
    """What the cost of the steps depends on."""
    return ", ".join(step.text for step in steps if step.text)
