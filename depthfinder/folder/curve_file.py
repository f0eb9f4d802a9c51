"""Writes and reads the file of a training's epochs in a run's folder."""

import dataclasses
import io
from typing import Any, Final, get_type_hints

import pandas as pd

from pruner.training.curve import Epoch

HEADINGS: Final = tuple(field.name for field in dataclasses.fields(Epoch))


def as_csv(epochs: tuple[Epoch, ...]) -> str:
    """Returns the epochs as CSV, one a line; figures that an epoch does not have are empty."""
    frame = pd.DataFrame([dataclasses.asdict(epoch) for epoch in epochs], columns=list(HEADINGS))
    return str(frame.to_csv(index=False))


def read_csv(text: str) -> tuple[Epoch, ...]:
    """Returns the epochs that `as_csv` wrote."""
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    kinds = get_type_hints(Epoch)
    return tuple(
        Epoch(**{str(name): _value(kinds[str(name)], cell) for name, cell in row.items()})
        for row in frame.to_dict("records")
    )


def _value(kind: Any, cell: str) -> Any:
    """The value of a cell; an empty cell of a number that may be missing is None."""
    if kind == float | None:
        return float(cell) if cell else None
    return kind(cell)
