"""Models `torch.compile`: elementwise operators in a row become one kernel."""

from collections.abc import Sequence
from itertools import groupby

from latency.predictor.listen import Operator

_OWN_TENSORS = 2  # what is read and what is written, if nothing else is


def fused(operators: Sequence[Operator]) -> tuple[Operator, ...]:
    """Returns the operators as they run when compiled.

    Elementwise operators in a row become one, whose intermediate results never reach the memory. Products and norms
    stay kernels of their own.

    Example:
        >>> gelu = Operator("elementwise", (4.0, 32.0, 2.0, 1.0))
        >>> fused([gelu, gelu])
        (Operator(kind='elementwise', dims=(4.0, 32.0, 2.0, 1.0)),)
    """
    found: list[Operator] = []
    for is_elementwise, group in groupby(operators, lambda operator: operator.kind == "elementwise"):
        row = list(group)
        found += [_as_one(row)] if is_elementwise else row
    return tuple(found)


def _as_one(row: Sequence[Operator]) -> Operator:
    """One kernel over the largest tensor; it reads one tensor, writes one, and reads what any operator takes beyond
    two."""
    largest = max(row, key=lambda operator: operator.dims[0] * operator.dims[1])
    numbers, width = largest.dims[0] * largest.dims[1], largest.dims[1]
    more = sum((one.dims[2] - _OWN_TENSORS) * one.dims[0] * one.dims[1] for one in row) / numbers
    costly = max(one.dims[3] for one in row)
    return Operator("elementwise", (numbers / width, width, _OWN_TENSORS + max(0.0, more), costly))
