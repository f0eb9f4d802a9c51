"""A user's own file or package with the name of one of ours, in real processes as they are started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from depthfinder.own_packages import OWN_PACKAGES

ROOT = Path(__file__).parent.parent.parent
USE = "import depthfinder; print(depthfinder.Plan(model='x').model, depthfinder.Candidate.__module__)"
WORKS = "x search.candidate\n"


def python(folder: Path, *words: str, front: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Python in `folder`, with ours found as an installed distribution is, behind what the words put in front."""
    path = os.pathsep.join(str(entry) for entry in (front, ROOT) if entry)
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def own(folder: Path, name: str, *, as_package: bool) -> Path:
    """A user's module of that name, which says so when it is imported."""
    file = folder / name / "__init__.py" if as_package else folder / f"{name}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text("print('the user has this')\n")
    return file


def refused(done: subprocess.CompletedProcess[str], file: Path, name: str) -> bool:
    """By one line, the last, with nothing of the wrong module run."""
    line = f"ImportError: {file} stands in front of Depthfinder's own package `{name}`: rename it, or run from another "
    return done.returncode == 1 and done.stdout == "" and done.stderr.splitlines()[-1].startswith(line)


@pytest.mark.parametrize("as_package", [False, True], ids=["file", "package"])
@pytest.mark.parametrize("name", OWN_PACKAGES)
def test_a_script_beside_a_module_of_our_name_is_told_which(tmp_path: Path, name: str, as_package: bool) -> None:
    file = own(tmp_path, name, as_package=as_package)
    (tmp_path / "script.py").write_text(USE)
    assert refused(python(tmp_path.parent, str(tmp_path / "script.py")), file, name)


@pytest.mark.parametrize("as_package", [False, True], ids=["file", "package"])
def test_so_is_what_is_typed_in_such_a_folder(tmp_path: Path, as_package: bool) -> None:
    file = own(tmp_path, "search", as_package=as_package)
    assert refused(python(tmp_path, "-c", USE), file, "search")


def test_so_is_a_script_that_has_imported_its_own_already(tmp_path: Path) -> None:
    file = own(tmp_path, "search", as_package=False)
    done = python(tmp_path, "-c", f"import search; {USE}")
    assert done.stdout == "the user has this\n"
    assert f"{file} stands in front of" in done.stderr.splitlines()[-1]


def test_a_script_called_as_one_of_ours_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "search.py").write_text(USE)
    assert refused(python(tmp_path, "search.py"), tmp_path / "search.py", "search")


@pytest.mark.parametrize("as_package", [pytest.param(False, marks=pytest.mark.grid), True], ids=["file", "package"])
def test_the_command_takes_its_own(tmp_path: Path, as_package: bool) -> None:
    for name in OWN_PACKAGES:
        own(tmp_path, name, as_package=as_package)
    done = python(tmp_path, "-u", "-m", "depthfinder", "describe", "--model", "resnet10t", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
    assert "layer1.0" in done.stdout


def test_another_program_is_not_ours_whatever_it_is_told(tmp_path: Path) -> None:
    file = own(tmp_path, "search", as_package=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "__init__.py").write_text(USE)
    (tmp_path / "other" / "__main__.py").touch()
    assert refused(python(tmp_path, "-m", "other", "-m", "depthfinder"), file, "search")


def test_a_folder_that_is_no_package_is_in_nobodys_way(tmp_path: Path) -> None:
    for name in OWN_PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").touch()
    (tmp_path / "script.py").write_text(USE)
    for words in (["script.py"], ["-c", USE]):
        done = python(tmp_path, *words)
        assert (done.returncode, done.stdout) == (0, WORKS), done.stderr
