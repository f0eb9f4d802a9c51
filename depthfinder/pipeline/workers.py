"""Helper processes of a search on this machine. They are replaced when they die, and end when the search is over."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Final

import torch

from depthfinder.console import log
from depthfinder.folder.run_folder import RunFolder
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.scoring import open_ledger, scorer, storage_url
from search.search import PAUSE_S, evaluate_a_share
from search.storage.opening import storage_faults

STORAGE_VARIABLE: Final = "DEPTHFINDER_STORAGE"
_MOST_DEATHS: Final = 20
_LOOK_S: Final = 0.5
_GOODBYE_S: Final = 20.0


class Helpers:
    """The workers of a run beside this process, which is the first. They run inside a `with` statement."""

    def __init__(self, folder: RunFolder, profiles_root: Path, storage: str, workers: int) -> None:
        """Prepares the processes without starting them.

        Args:
            folder: The folder of the run.
            profiles_root: The folder of all latency tables.
            storage: The URL of the study's storage, with its password if it has one.
            workers: How many processes work, this one included.
        """
        self._folder, self._workers = folder, workers
        self._words = [sys.executable, "-m", "depthfinder", "worker", str(folder.path)]
        self._words += ["--profiles-root", str(profiles_root)]
        self._environment = os.environ | {STORAGE_VARIABLE: storage}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._replace_the_dead, daemon=True)
        self._threads = torch.get_num_threads()

    def __enter__(self) -> "Helpers":
        self._processes = [self._start() for _ in range(self._workers - 1)]
        _share_the_processor(self._workers)
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes the pipes of the helpers, which makes them end after the plans that they have begun."""
        self._over.set()
        self._watch.join()
        torch.set_num_threads(self._threads)
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            try:
                process.wait(_GOODBYE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._folder["workers.log"].open("ab") as log_file:
            # In a session of its own: Ctrl-C is for this process, which tells the others.
            return subprocess.Popen(  # noqa: S603  # our own command, as a list of words
                self._words,
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                env=self._environment,
                start_new_session=True,
            )

    def _replace_the_dead(self) -> None:
        deaths = 0
        while not self._over.wait(_LOOK_S):
            for place, process in enumerate(self._processes):
                if process.poll() is None or deaths == _MOST_DEATHS:
                    continue
                deaths += 1
                place_taken = "replaced" if deaths < _MOST_DEATHS else f"not replaced after {deaths} deaths"
                told = self._folder["workers.log"]
                log.warning("a worker ended with status %d: %s; see %s", process.returncode, place_taken, told)
                if deaths < _MOST_DEATHS:
                    self._processes[place] = self._start()


def helpers_of(run: Run) -> Helpers:
    """Returns the helpers that a run was asked for."""
    return Helpers(run.folder, run.profiles_root, storage_url(run), run.config.search.workers)


def help_out(run: Run) -> None:
    """Evaluates plans of the leading process until that closes its end of the pipe."""
    over = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(sys.stdin.buffer, over), daemon=True).start()
    with storage_faults(storage_url(run)):
        _share_the_processor(run.config.search.workers)
        ledger = open_ledger(run)
        evaluate = scorer(run)
        while not over.is_set():
            if not evaluate_a_share(ledger, evaluate, run.config.search.workers):
                time.sleep(PAUSE_S)


def _share_the_processor(workers: int) -> None:
    """Limits the threads of this process, so that all workers together have no more threads than there are cores."""
    if workers > 1:
        torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // workers)))


def _wait_for_the_end(pipe: IO[bytes], over: threading.Event) -> None:
    while pipe.read(1):
        continue
    over.set()
