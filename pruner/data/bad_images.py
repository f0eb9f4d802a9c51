"""Finds the images of data sets that cannot be decoded, and lists them in a file."""

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
    """Finds the images of each source that cannot be decoded.

    A report that was written for the very same files is read, and no image is decoded again. Otherwise every image is
    decoded once, in as many processes as there are cores.

    Args:
        sources: The images to decode.
        report: The file that lists the images that cannot be decoded. It is written unless it is up to date.
        progress: Is told how many images have been decoded.

    Returns:
        For each source, the numbers of its images that cannot be decoded.
    """
    state = hashlib.sha256("".join(source.state() for source in sources).encode()).hexdigest()
    found = _listed(report, state)
    if found is None:
        found = _read_all(sources, progress)
        _write(report, state, found)
    return [frozenset(index for which, index, _, _ in found if which == number) for number in range(len(sources))]


def count_listed(report: Path) -> int:
    """Returns how many images a report lists."""
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
    """Decodes rows of (number of the source, number of the image), and lists the faults of each row."""

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
    # Each line is JSON, because a name may hold anything, even a line break.
    lines = [_HEADING, _STATE + state, *(json.dumps(bad) for bad in found)]
    report.parent.mkdir(parents=True, exist_ok=True)
    beside = report.with_name(f"{report.name}.{os.getpid()}.part")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(report)


def _listed(report: Path, state: str) -> list[Bad] | None:
    """The images that the report lists; None where it is missing, damaged, or of another state of the files."""
    if not report.is_file():
        return None
    lines = report.read_text(encoding="utf-8", errors="replace").splitlines()
    if lines[:2] != [_HEADING, _STATE + state]:
        return None
    try:
        rows = [json.loads(line) for line in lines[2:]]
        return [(int(which), int(index), str(place), str(reason)) for which, index, place, reason in rows]
    except ValueError:
        # The file was edited: it is to be written again.
        return None
