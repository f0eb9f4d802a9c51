"""The rules of the house, held by machine: who imports whom, and what each package promises."""

import ast
import importlib
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("profiles", "pruner", "latency", "search", "depthfinder")
MAY_IMPORT = {
    "profiles": set(),
    "pruner": set(),
    "latency": {"profiles", "pruner"},
    "search": {"latency", "profiles", "pruner"},
    "depthfinder": {"latency", "profiles", "pruner", "search"},
}
# A library that only some files, or a folder, may know, so that what it is used for can be changed in one place.
FENCES = {
    "jinja2": {"depthfinder/report.py"},
    "jsonschema": {"profiles/store.py"},
    "matplotlib": {"depthfinder/pictures.py", "depthfinder/profile_pictures.py"},
    "onnxruntime": {"latency/devices/ort.py", "latency/kit/onnx_runner.py"},
    "optuna": {"search/search.py"},
    "scipy": {"latency/fit.py"},
    "sklearn": {"pruner/data/digits.py", "latency/predictor/"},
    "timm": {"pruner/_timm.py"},
}
FORBIDDEN = {"pickle", "shelve", "marshal", "dill", "lightning", "apex"}
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn"}

FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """The first part of every absolute import of a file, those inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add((node.module or "").partition(".")[0])
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_one_way(path: Path) -> None:
    package = name(path).partition("/")[0]
    ours = imports(path) & set(PACKAGES)
    assert ours <= MAY_IMPORT[package] | {package}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_libraries_stay_behind_their_fences(path: Path) -> None:
    strayed = {library for library in imports(path) & set(FENCES) if not name(path).startswith(tuple(FENCES[library]))}
    assert not strayed
    assert not imports(path) & FORBIDDEN


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_is_one_idea_and_says_which(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a file begins by saying what it is for"


def declared_dependencies() -> dict[str, str]:
    """Distribution -> the file that pyproject names as its user."""
    lines = (ROOT / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("\n]")[0].splitlines()
    matches = [re.match(r'\s*"([\w-]+)[^"]*",\s*# .+: (\S+)$', line) for line in lines if line.strip()]
    assert all(matches), "each dependency comes with its reason and the file that uses it"
    return {match[1]: match[2] for match in matches if match}


def test_every_dependency_is_used_where_pyproject_says() -> None:
    for distribution, user in declared_dependencies().items():
        paths = [ROOT / user] if user.endswith(".py") else sorted((ROOT / user).rglob("*.py"))
        used = {DISTRIBUTIONS.get(module, module) for path in paths for module in imports(path)}
        assert distribution in used, f"{user} does not use {distribution}"


def test_every_import_is_declared() -> None:
    known = set(declared_dependencies()) | set(PACKAGES) | set(sys.stdlib_module_names)
    used = {DISTRIBUTIONS.get(module, module) for path in FILES for module in imports(path)}
    assert used <= known


def test_the_door_is_honest() -> None:
    door = importlib.import_module("depthfinder")
    assert door.__all__ == sorted(door.__all__)
    assert set(door.__all__) == set(door._HOMES)
    for public in door.__all__:
        assert getattr(door, public).__name__ == public
        assert getattr(door, public).__doc__, f"df.{public} says nothing of itself"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        door.nonsense  # noqa: B018


@pytest.mark.parametrize("module", ["latency.devices", "pruner.families"])
def test_what_a_package_exports_is_there(module: str) -> None:
    package = importlib.import_module(module)
    assert all(hasattr(package, public) for public in package.__all__)


def test_nobody_else_owns_our_names() -> None:
    owners = importlib.metadata.packages_distributions()
    for package in PACKAGES:
        assert set(owners.get(package, ["depthfinder"])) == {"depthfinder"}
        assert Path(importlib.import_module(package).__path__[0]) == ROOT / package
