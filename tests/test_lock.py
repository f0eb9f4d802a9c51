"""The lock holds all that the set-up installs, and what tells whether an environment is the lock's tells it."""

import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
LINES = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.lstrip().startswith("#")]
LOCKED = [Requirement(line.partition(" #")[0]) for line in LINES]


def declared() -> list[Requirement]:
    """All that pyproject and the lock's own input ask for, but for pyproject's extras that are lists of ours."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    texts = [text for one in lists for text in one if not text.startswith("depthfinder[")]
    lines = (ROOT / "requirements.in").read_text().splitlines()
    return [Requirement(text) for text in texts + [line for line in lines if line and not line.startswith("#")]]


def test_every_entry_is_one_version_and_says_nothing_of_where_it_is_from() -> None:
    assert all(re.fullmatch(r"==[^*,]+", str(requirement.specifier)) for requirement in LOCKED)
    assert not any(requirement.url for requirement in LOCKED)
    assert "://" not in (ROOT / "requirements.lock").read_text()


@pytest.mark.parametrize("wanted", declared(), ids=str)
def test_what_is_asked_for_is_locked_within_its_range(wanted: Requirement) -> None:
    versions = [
        str(entry.specifier).removeprefix("==")
        for entry in LOCKED
        if canonicalize_name(entry.name) == canonicalize_name(wanted.name)
    ]
    assert versions
    assert all(wanted.specifier.contains(version) for version in versions)


def as_locked(lock: Path, lines: list[str]) -> subprocess.CompletedProcess[str]:
    lock.write_text("# made by a test\n" + "\n".join(lines) + "\n")
    words = [sys.executable, "-I", str(ROOT / ".ci" / "as_locked.py"), str(lock)]
    return subprocess.run(words, capture_output=True, text=True)


def test_an_environment_is_the_locks_or_what_differs_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    here = {canonicalize_name(found.name): found.version for found in distributions()}
    lines = [f"{name}=={version}  # via a test" for name, version in here.items() if name not in ("pip", "depthfinder")]
    elsewhere = ["nothing-here==1.0 ; sys_platform == 'win32'"]
    done = as_locked(lock, lines + elsewhere)
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [f"{len(lines)} distributions are installed, those of {lock} and no others"],
    )
    changed = [line for line in lines if not line.startswith(("numpy==", "pytest=="))]
    done = as_locked(lock, [*changed, "numpy==1.0", "nothing-here==1.0"])
    assert done.returncode == 1
    assert done.stdout.splitlines()[:-1] == [
        "nothing-here: ==1.0 is in the lock, and it is not installed",
        f"numpy: {here['numpy']} is installed, and ==1.0 is in the lock",
        f"pytest: {here['pytest']} is installed, and it is not in the lock",
    ]
