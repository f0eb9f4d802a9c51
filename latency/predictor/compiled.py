"""What `torch.compile` makes of the operators of a network: elementwise operators in a row become one kernel."""

from collections.abc import Sequence
from itertools import groupby

from latency.predictor.listen import Operator

_OWN_TENSORS = 2  # what is read and what is written, if nothing else is


def fused(operators: Sequence[Operator]) -> tuple[Operator, ...]:
    """The operators as they are compiled: of elementwise ones in a row, what one hands to the next never reaches the
    memory. Products and norms stay kernels of their own."""
    found: list[Operator] = []
    for is_elementwise, group in groupby(operators, lambda operator: operator.kind == "elementwise"):
        row = list(group)
        found += [_as_one(row)] if is_elementwise else row
    return tuple(found)


def _as_one(row: Sequence[Operator]) -> Operator:
    """One kernel over the largest of the tensors. Every operator brings the tensors beyond its own two."""
    largest = max(row, key=lambda operator: operator.dims[0] * operator.dims[1])
    numbers, width = largest.dims[0] * largest.dims[1], largest.dims[1]
    more = sum((one.dims[2] - _OWN_TENSORS) * one.dims[0] * one.dims[1] for one in row) / numbers
    costly = max(one.dims[3] for one in row)
    return Operator("elementwise", (numbers / width, width, _OWN_TENSORS + max(0.0, more), costly))
