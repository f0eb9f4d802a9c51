"""Which images of a data set cannot be decoded: found by reading all of them once, and listed in a file."""

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pruner.data.loading import carried_out
from pruner.data.mapped import Source
from pruner.errors import BadImageError
from pruner.progress import Progress

_IMAGES_AT_ONCE = 64
_HEADING = "# Images that cannot be decoded, one a line: its split and number, where it is, and why."
_STATE = "# They were found in this state of the files: "

Bad = tuple[int, int, str, str]
"""(number of the source, number of the image in it, its place, the reason)."""


def bad_images(sources: Sequence[Source], report: Path, progress: Progress) -> list[frozenset[int]]:
    """For each source the numbers of the images that cannot be decoded.

    They are listed in `report`. Where that is of the very same files already, nothing is read again. Else all are read,
    in as many processes as there are cores.
    """
    state = hashlib.sha256("".join(source.state() for source in sources).encode()).hexdigest()
    found = _listed(report, state)
    if found is None:
        found = _read_all(sources, progress)
        _write(report, state, found)
    return [frozenset(index for which, index, _, _ in found if which == number) for number in range(len(sources))]


def count_listed(report: Path) -> int:
    """How many images the file lists."""
    return sum(not line.startswith("#") for line in report.read_text(encoding="utf-8").splitlines())


def _read_all(sources: Sequence[Source], progress: Progress) -> list[Bad]:
    total = sum(len(source.labels) for source in sources)
    everywhere = itertools.chain.from_iterable(
        ((number, index) for index in range(len(source.labels))) for number, source in enumerate(sources)
    )
    numbered = list(everywhere)
    rows = [numbered[first : first + _IMAGES_AT_ONCE] for first in range(0, total, _IMAGES_AT_ONCE)]
    cores = os.cpu_count() or 1
    found: list[Bad] = []
    for done, row in enumerate(carried_out(_Reading(sources, rows), cores if len(rows) > cores else 0), start=1):
        found += row
        progress(min(done * _IMAGES_AT_ONCE, total), total, f"{len(found)} cannot be decoded")
    return found


@dataclass(frozen=True)
class _Reading:
    """One list of faults for each row of (number of the source, number of the image)."""

    sources: Sequence[Source]
    rows: Sequence[Sequence[tuple[int, int]]]

    def share(self, worker: int, workers: int) -> Iterator[list[Bad]]:
        for row in self.rows[worker::workers]:
            found: list[Bad] = []
            for number, index in row:
                try:
                    self.sources[number].image(index, "RGB")
                except BadImageError as error:
                    found.append((number, index, error.place, error.reason))
            yield found


def _write(report: Path, state: str, found: Sequence[Bad]) -> None:
    # JSON a line: a name may hold anything, a line's end among it.
    lines = [_HEADING, _STATE + state, *(json.dumps(bad) for bad in found)]
    report.parent.mkdir(parents=True, exist_ok=True)
    beside = report.with_name(f"{report.name}.{os.getpid()}.part")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(report)


def _listed(report: Path, state: str) -> list[Bad] | None:
    """What the file lists, if it is whole and of this state."""
    if not report.is_file():
        return None
    lines = report.read_text(encoding="utf-8", errors="replace").splitlines()
    if lines[:2] != [_HEADING, _STATE + state]:
        return None
    try:
        rows = [json.loads(line) for line in lines[2:]]
        return [(int(which), int(index), str(place), str(reason)) for which, index, place, reason in rows]
    except ValueError:
        # Somebody has written into it: it is made anew.
        return None
