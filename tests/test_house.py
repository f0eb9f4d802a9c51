"""The rules of the house, held by machine: who imports whom, and what each package promises."""

import ast
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("profiles", "pruner", "latency", "search", "depthfinder")
MAY_IMPORT = {
    "profiles": set(),
    "pruner": {"profiles"},
    "latency": {"profiles", "pruner"},
    "search": {"latency", "profiles", "pruner"},
    "depthfinder": {"latency", "profiles", "pruner", "search"},
}
# A library that only some files, or a folder, may know, so that what it is used for can be changed in one place.
FENCES = {
    "datasets": {"pruner/data/hugging_face.py"},
    "huggingface_hub": {"pruner/data/hugging_face.py"},
    "jinja2": {"depthfinder/report/page.py"},
    "jsonschema": {"profiles/writing.py"},
    "matplotlib": {
        "depthfinder/report/mask_pictures.py",
        "depthfinder/report/pictures.py",
        "depthfinder/report/profile_pictures.py",
    },
    "onnxruntime": {"latency/devices/ort.py", "latency/kit/onnx_runner.py"},
    "optuna": {
        "search/storage/journal.py",
        "search/storage/ledger.py",
        "search/storage/quietly.py",
        "search/dashboard/review_copy.py",
        "search/dashboard/server.py",
        "search/samplers/by_optuna.py",
        "search/storage/opening.py",
    },
    "pydantic": {
        "depthfinder/config/",
        "depthfinder/cli/flags.py",
        "depthfinder/cli/requests.py",
        "latency/mode.py",
        "profiles/option.py",
        "pruner/data/variation.py",
        "pruner/training/settings.py",
    },
    "optuna_dashboard": {"search/dashboard/review_copy.py", "search/dashboard/server.py"},
    "scipy": {"latency/fit.py", "search/solver.py", "search/samplers/surrogate.py"},
    "sklearn": {"pruner/data/digits.py", "latency/predictor/"},
    "sqlalchemy": {"search/storage/opening.py"},
    "tensorboard": {"depthfinder/pipeline/tensorboard.py"},
    "timm": {"pruner/_timm.py"},
    "torch_pruning": {"pruner/masks/channels.py"},
    "torchvision": {"pruner/_timm.py"},
    "webdataset": {"pruner/data/webdataset_shards.py"},
}
# What lies in a folder of a package imports from its own folder, and from those named before it.
FLOORS = {
    "profiles": (),
    "pruner": (
        *("algebra", "choices", "data", "models", "families", "anatomy", "network", "fitting", "training"),
        *("gates", "masks", "scoring", "criteria"),
    ),
    "latency": ("devices", "kit", "predictor"),
    "search": ("storage", "samplers", "verification", "dashboard"),
    "depthfinder": ("strategies", "testing", "config", "folder", "report", "pipeline", "cli"),
}
FORBIDDEN = {"pickle", "shelve", "marshal", "dill", "lightning", "apex"}
DISTRIBUTIONS = {
    "PIL": "pillow",
    "huggingface_hub": "huggingface-hub",
    "optuna_dashboard": "optuna-dashboard",
    "sklearn": "scikit-learn",
    "torch_pruning": "torch-pruning",
    "yaml": "pyyaml",
}

FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """The first part of every absolute import of a file, those inside functions too."""
    return imports_of(ast.parse(path.read_text()).body)


def imports_of(statements: Sequence[ast.stmt]) -> set[str]:
    found = set()
    for node in (node for statement in statements for node in ast.walk(statement)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import of {node.module}"
            found.add((node.module or "").partition(".")[0])
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_one_way(path: Path) -> None:
    package = name(path).partition("/")[0]
    ours = imports(path) & set(PACKAGES)
    assert ours <= MAY_IMPORT[package] | {package}


@pytest.mark.parametrize("path", [path for path in FILES if len(path.relative_to(ROOT).parts) > 2], ids=name)
def test_folders_of_a_package_stand_on_one_another(path: Path) -> None:
    package, folder, *_ = path.relative_to(ROOT).parts
    floors = FLOORS[package]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            other = (node.module or "").split(".")[1]
            assert other not in floors or floors.index(other) <= floors.index(folder), f"it imports {node.module}"


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


def declared_dependencies(lists: str) -> dict[str, str]:
    """Distribution -> the file that pyproject names as its user, of the list that is called so."""
    text = (ROOT / "pyproject.toml").read_text().partition(f"\n{lists} = [\n")[2].partition("\n]")[0]
    matches = [re.match(r'\s*"([\w-]+)[^"]*",\s*# .+: (\S+)$', line) for line in text.splitlines() if line.strip()]
    assert matches
    assert all(matches), "each dependency comes with its reason and the file that uses it"
    return {match[1]: match[2] for match in matches if match}


REQUIRED = declared_dependencies("dependencies")
OPTIONAL = declared_dependencies("dashboard") | declared_dependencies("data") | declared_dependencies("tensorboard")


def test_every_dependency_is_used_where_pyproject_says() -> None:
    for distribution, user in (REQUIRED | OPTIONAL).items():
        paths = [ROOT / user] if user.endswith(".py") else sorted((ROOT / user).rglob("*.py"))
        used = {DISTRIBUTIONS.get(module, module) for path in paths for module in imports(path)}
        assert distribution in used, f"{user} does not use {distribution}"


def test_every_import_is_declared() -> None:
    known = set(REQUIRED) | set(OPTIONAL) | set(PACKAGES) | set(sys.stdlib_module_names)
    used = {DISTRIBUTIONS.get(module, module) for path in FILES for module in imports(path)}
    assert used <= known


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_may_be_missing_is_imported_where_it_is_needed(path: Path) -> None:
    """Within functions: a file whose import needs an optional library breaks whoever lacks it."""
    nodes = [node for node in ast.parse(path.read_text()).body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    at_import = imports_of(nodes)
    assert not {DISTRIBUTIONS.get(module, module) for module in at_import} & set(OPTIONAL)


def test_the_door_is_honest() -> None:
    door = importlib.import_module("depthfinder")
    assert door.__all__ == sorted(door.__all__)
    assert set(door.__all__) == {*door._HOMES, "errors"}
    for public in door._HOMES:
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
