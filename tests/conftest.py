"""What many tests start from: a small vision transformer, the command line as a user types it, a database server."""

import gc
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from commands import Command
from depthfinder.cli.app import main
from networks import made
from postgres import Postgres, running_postgres
from skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401  # hooks are found here


def pytest_collection_finish() -> None:
    """All that was imported stays to the end: the garbage collector need not go through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def small_vit() -> nn.Module:
    """Three blocks, 24 wide, 16-pixel images, with norms and biases that are not at their initial values."""
    return made("deit", seed=0)


@pytest.fixture
def depthfinder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Types `depthfinder ...` in an empty folder: the whole command, in this process to save the imports."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr("sys.argv", ["depthfinder", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        output = capfd.readouterr()
        status = ended.value.code or 0
        assert isinstance(status, int)
        return subprocess.CompletedProcess(words, status, output.out, output.err)

    return run


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server
