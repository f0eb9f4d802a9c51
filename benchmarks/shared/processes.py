"""Jobs in processes of one thread each, and the seconds that a study took over all the times that it was typed."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch

from profiles.files import write_whole

Job = TypeVar("Job")


def processes_of_one_thread(count: int) -> ProcessPoolExecutor:
    """So many processes, started anew, in each of which torch has one thread."""
    return ProcessPoolExecutor(count, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))


def in_processes(work: Callable[[Job, Path], str], jobs: Sequence[Job], output: Path, count: int) -> Iterator[str]:
    """What `work` says of each job, done by so many processes of one thread each."""
    torch.set_num_threads(1)
    with processes_of_one_thread(count) as pool:
        yield from pool.map(work, jobs, [output] * len(jobs))


def spent(output: Path, seconds: float) -> float:
    """The seconds that the study took so far, over all the times that it was typed."""
    file = output / "seconds.json"
    total = seconds + (json.loads(file.read_text()) if file.exists() else 0.0)
    write_whole(file, json.dumps(total) + "\n")
    return float(total)
