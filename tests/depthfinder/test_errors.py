"""One tree of errors: as it is drawn, each of ours in it, each with the status that a command ends with."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import depthfinder as df
from depthfinder import errors

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("profiles", "pruner", "latency", "search", "depthfinder")
OURS = [getattr(errors, name) for name in errors.__all__ if name != "exit_status"]
DRAWN = re.findall(r"^    ((?:[|`] *|-- |    )*)(\w+Error)(.*)$", str(errors.__doc__), re.MULTILINE)


def drawn() -> dict[str, tuple[str | None, str]]:
    """Error -> what it stands under in the picture, and what is written beside it."""
    above: list[str] = []
    found: dict[str, tuple[str | None, str]] = {}
    for branch, name, beside in DRAWN:
        del above[len(branch) // 4 :]
        found[name] = (above[-1] if above else None, beside.strip())
        above.append(name)
    return found


def test_the_picture_is_the_tree() -> None:
    assert set(drawn()) == {error.__name__ for error in OURS}
    for error in OURS:
        under, beside = drawn()[error.__name__]
        assert error.__bases__[0].__name__ == (under or "Exception")
        builtin = error.__bases__[1].__name__ if len(error.__bases__) > 1 else None
        assert builtin is None or re.search(rf"\ban? {builtin}$", beside)
        own = error.__dict__.get("exit_status")
        assert own is None or re.search(rf"(^|status ){own}$", beside)


def test_every_error_in_the_code_is_in_it() -> None:
    known = {error.__name__ for error in OURS}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                assert node.name in known, f"{node.name} of {path}"


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_each_has_a_status_and_says_what_it_is(error: type[errors.DepthfinderError]) -> None:
    assert issubclass(error, errors.DepthfinderError)
    assert error.exit_status in range(5)
    assert (error.__doc__ or "").strip().endswith(".")


def test_an_error_has_the_status_of_its_kind() -> None:
    class MissingError(FileNotFoundError):
        pass

    assert errors.exit_status(MissingError()) == errors.exit_status(FileNotFoundError()) == 3
    assert errors.exit_status(errors.BudgetUnreachableError("none fits")) == 4
    assert errors.exit_status(errors.UnknownMethodError("no such")) == 2
    assert errors.exit_status(RuntimeError()) is None


def test_they_are_a_part_of_the_api_and_import_nothing_heavy() -> None:
    assert df.errors is errors
    code = "import sys, depthfinder as df; df.errors.SettingsError; assert not {'torch', 'numpy'} & set(sys.modules)"
    assert not subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
