"""Commands typed in processes of their own that can be killed: copies of one process that has imported all it takes."""

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from depthfinder.cli.app import main

_CONTEXT = multiprocessing.get_context("forkserver")
_SLOW_IMPORTS = [
    "depthfinder.pipeline.carry_out",
    "depthfinder.report.tables",
    "timm",
    "sklearn.datasets",
    "alembic.command",
    "onnxruntime",
]


class Typed:
    """`depthfinder WORDS` under way in a folder, where all that it prints is in the file `printed.txt`."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        _CONTEXT.set_forkserver_preload(_SLOW_IMPORTS)
        self._printed = folder / "printed.txt"
        self.process: ForkServerProcess = _CONTEXT.Process(target=_type, args=(folder, words, self._printed))
        self.process.start()

    @property
    def printed(self) -> str:
        return self._printed.read_text() if self._printed.exists() else ""

    def status(self, timeout_s: float) -> int | None:
        """The exit status, that of a signal below zero; None when it has not ended by then."""
        self.process.join(timeout_s)
        return self.process.exitcode


def _type(folder: Path, words: list[str], printed: Path) -> None:
    os.chdir(folder)
    with printed.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["depthfinder", *words]
    main()
