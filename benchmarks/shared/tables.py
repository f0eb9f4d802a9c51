"""Markdown tables, and the files in `benchmarks/results/` that they go to."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

RESULTS: Final = Path(__file__).parent.parent / "results"


def markdown_table(heads: Sequence[str | None], rows: Iterable[Iterable[object]]) -> list[str]:
    """The lines of a table."""
    return [markdown_row(heads), "|" + " --- |" * len(heads), *map(markdown_row, rows)]


def markdown_row(cells: Iterable[object]) -> str:
    """One line of a table. Where there is nothing to say a cell is None; an empty text leaves a space more."""
    return "".join("| " if cell is None else f"| {cell} " for cell in cells) + "|"


def percent(share: float, digits: int = 1) -> str:
    """A share as a cell of a table has it, without a space before the sign."""
    return f"{100 * share:.{digits}f}%"


def publish(name: str, lines: Sequence[str], record: object = None, folder: Path = RESULTS) -> None:
    """Prints the lines, and leaves them and what they were made of in the folder of results."""
    print(*lines, sep="\n", flush=True)
    write_results(name, lines, record, folder)


def write_results(name: str, lines: Sequence[str], record: object = None, folder: Path = RESULTS) -> None:
    """Writes `NAME.md`, and `NAME.json` where there is a record."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text("\n".join(lines) + "\n")
    if record is not None:
        write_record(name, record, folder)


def write_record(name: str, record: object, folder: Path = RESULTS) -> None:
    """Writes `NAME.json` alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
