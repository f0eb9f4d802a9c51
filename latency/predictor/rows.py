"""Tables of operators and their timings as CSV files, one operator per row."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from latency.errors import RowsError
from latency.predictor.kinds import ELEMENTWISE, KINDS
from latency.predictor.tiles import Array
from profiles.files import write_whole

LATENCY: Final = "latency_ms"
"""The column of the measured latency."""
PREDICTED: Final = ("predicted_ms", "low_ms", "high_ms", "in_range")
"""The columns that predictions are written to."""
DTYPES: Final = ("fp32", "fp16", "bf16")
"""The dtypes that a row may be of."""
_ABSENT: Final = {"b": 1.0, "kernel": 3.0, "stride": 1.0, "padding": 1.0, "groups": 1.0}
_MAY_BE_ZERO: Final = {"padding"}


@dataclass(frozen=True)
class OperatorRows:
    """Rows of operators, as text.

    Attributes:
        columns: The names of the columns.
        cells: Column -> text, for each row.
        origin: Where the rows come from, for messages.
        places: Where each row was read, for messages; by default its number in `origin`.

    Example:
        >>> cells = [{"op": "linear", "m": "64", "n": "192", "k": "192"}]
        >>> rows = OperatorRows(("op", "m", "n", "k"), cells, "rows.csv")
        >>> numbers, dims = rows.by_kind["linear"]
        >>> numbers.tolist(), dims.tolist()
        ([0], [[1.0, 64.0, 192.0, 192.0]])
    """

    columns: tuple[str, ...]
    cells: Sequence[Mapping[str, str]]
    origin: str
    places: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.cells)

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The device that each row names; empty where a row names none."""
        return tuple(row.get("device") or "" for row in self.cells)

    @cached_property
    def dtypes(self) -> tuple[str, ...]:
        """The dtype of each row, fp32 where none is given. Raises `RowsError` for an unknown dtype."""
        found = tuple(row.get("dtype") or "fp32" for row in self.cells)
        strange = next((number for number, dtype in enumerate(found) if dtype not in DTYPES), None)
        if strange is not None:
            known = ", ".join(DTYPES)
            raise RowsError(f"{self._place(strange)}: no dtype is called {found[strange]!r}; there are: {known}")
        return found

    @cached_property
    def by_kind(self) -> dict[str, tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Array]]:
        """Kind of operator -> the indices of its rows (N,) and their dimensions (N, D).

        Raises `RowsError` for an unknown operator and for a dimension that is missing or no number.
        """
        found: dict[str, tuple[list[int], list[list[float]]]] = {}
        for number, row in enumerate(self.cells):
            operator = row.get("op") or ""
            kind = "elementwise" if operator in ELEMENTWISE else operator
            if kind not in KINDS or (kind == "elementwise") != (operator in ELEMENTWISE):
                known = sorted({*KINDS, *ELEMENTWISE} - {"elementwise"})
                raise RowsError(f"{self._place(number)}: no operator {operator!r}; there are: {', '.join(known)}")
            given = dict(zip(("tensors", "costly"), ELEMENTWISE.get(operator, ()), strict=False))
            numbers, dims = found.setdefault(kind, ([], []))
            numbers.append(number)
            dims.append([float(given[d]) if d in given else self._dimension(number, d) for d in KINDS[kind].dims])
            wrong = KINDS[kind].impossible(np.array(dims[-1]))
            if wrong:
                raise RowsError(f"{self._place(number)} is no {operator}: {wrong}")
        return {kind: (np.array(numbers), np.array(dims)) for kind, (numbers, dims) in found.items()}

    @cached_property
    def latency_ms(self) -> Array:
        """(N,), the measured milliseconds. Raises `RowsError` for a latency that is missing or not above 0."""
        return np.array([self._latency(number) for number in range(len(self))])

    def of(self, device: Sequence[str], dtype: str | None = None) -> "OperatorRows":
        """Returns the rows of a device.

        Args:
            device: The names of the device, any of which will do.
            dtype: The dtype of the rows, or None for all.
        """
        chosen = [
            number
            for number, (name, own) in enumerate(zip(self.devices, self.dtypes, strict=True))
            if name in device and dtype in (None, own)
        ]
        cells, places = [self.cells[number] for number in chosen], [self._place(number) for number in chosen]
        return OperatorRows(self.columns, cells, self.origin, places)

    @classmethod
    def joined(cls, tables: Sequence["OperatorRows"]) -> "OperatorRows":
        """Joins tables into one, which has all columns that any of them has."""
        columns = tuple(dict.fromkeys(column for table in tables for column in table.columns))
        cells = [row for table in tables for row in table.cells]
        places = [table._place(number) for table in tables for number in range(len(table))]
        return cls(columns, cells, ", ".join(table.origin for table in tables), places)

    def _place(self, number: int) -> str:
        return self.places[number] if self.places is not None else f"{self.origin}, row {number + 1}"

    def _dimension(self, number: int, name: str) -> float:
        text = self.cells[number].get(name) or ""
        if not text and name in _ABSENT:
            return _ABSENT[name]
        value = _number(text)
        if value is None or value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
            operator = self.cells[number]["op"]
            raise RowsError(f"{self._place(number)}: {name} of a {operator} is {text!r}, which is no dimension")
        return value

    def _latency(self, number: int) -> float:
        text = self.cells[number].get(LATENCY) or ""
        value = _number(text)
        if value is None or value <= 0:
            raise RowsError(f"{self._place(number)}: {LATENCY} is {text!r}, which is no latency")
        return value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_rows(path: Path) -> OperatorRows:
    """Reads the rows of a CSV file.

    Raises:
        FileNotFoundError: when there is no such file.
        RowsError: when the file is no table of operators.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        cells = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise RowsError(f"{path} is no CSV file ({error})") from error
    columns = tuple(reader.fieldnames or ())
    if "op" not in columns:
        raise RowsError(f"{path} has no column op: it takes columns like device,op,latency_ms,b,h,m,n,k")
    if not cells:
        raise RowsError(f"{path} holds no row")
    ragged = next((number for number, row in enumerate(cells) if None in row or None in row.values()), None)
    if ragged is not None:
        raise RowsError(f"{path}, row {ragged + 1} has not as many cells as the header")
    return OperatorRows(columns, cells, str(path))


def read_tables(paths: Sequence[Path]) -> OperatorRows:
    """Reads the rows of several CSV files as one table. Raises what `read_rows` raises."""
    tables = [read_rows(path) for path in paths]
    return tables[0] if len(tables) == 1 else OperatorRows.joined(tables)


def write_rows(path: Path, rows: OperatorRows, more: Mapping[str, Sequence[str]]) -> None:
    """Writes rows as a CSV file, with more columns behind their own.

    Args:
        path: Where to write the file.
        rows: The rows; a column that is also in `more` is left out.
        more: Column -> the text of each row.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    kept = [column for column in rows.columns if column not in more]
    writer.writerow([*kept, *more])
    for number, row in enumerate(rows.cells):
        writer.writerow([*(row[column] for column in kept), *(cells[number] for cells in more.values())])
    write_whole(path, text.getvalue())
