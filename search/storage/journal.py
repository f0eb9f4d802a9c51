"""A study in a file that several processes of one machine append to."""

import fcntl
import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from search.errors import StorageError


class Journal(JournalFileBackend):
    """Optuna's journal, locked by the kernel: a process that is killed holds no lock and leaves no half line.

    Optuna's own locks are files, which stay when their holder is killed: the others wait for a grace period, then break
    the lock, and may break a live one.

    Raises `StorageError` when the file is not a journal, is damaged, or cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._faults():
            super().__init__(str(path))
            with path.open("rb") as file:
                first = file.readline()
            # A first line that is not whole will be written anew by whoever appends next.
            if first.endswith(b"\n") and "op_code" not in dict(json.loads(first)):
                raise ValueError("no journal begins like this")

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yields the records from number `log_number_from` on."""
        with self._faults():
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends records in one piece, under the lock; half a line that a killed process left is removed first."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._faults(), open(self._path, "r+b", opener=_to_append) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed, if only because the process ended
            os.ftruncate(file.fileno(), _end_of_whole_lines(file.fileno()))
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self._path} cannot be used: {error.strerror}; look at it, or name another") from None
        except (TypeError, ValueError):
            raise StorageError(f"{self._path} is not a whole journal; restore it, or name another file") from None


def _to_append(path: str, flags: int) -> int:
    """Opens an existing file for appending, so that nothing is written over what others append at the same time."""
    return os.open(path, flags | os.O_APPEND)


def _end_of_whole_lines(file: int) -> int:
    """Where the last line that was written whole ends; beyond it is what a process wrote when it was killed."""
    end = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
