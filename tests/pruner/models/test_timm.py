"""A user's own `import timm` beside ours, in processes of their own: an operator is registered once a process."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OURS = "import depthfinder; depthfinder.load_model('resnet10t')"


def python(text: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (*folders, ROOT)))
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def unmatched(tmp_path: Path) -> Path:
    """A folder with torchvision as a torch that it was not built for finds it: its files without its operators."""
    found = find_spec("torchvision")
    assert found is not None
    assert found.submodule_search_locations is not None
    (tmp_path / "torchvision").mkdir()
    for source in Path(found.submodule_search_locations[0]).iterdir():
        if source.suffix != ".so" and source.name != "__pycache__":
            (tmp_path / "torchvision" / source.name).symlink_to(source)
    return tmp_path


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(f"import timm; {OURS}", id="before", marks=pytest.mark.grid),
        pytest.param(f"{OURS}; import timm", id="after"),
    ],
)
def test_timm_is_imported_before_or_after_ours(statements: str) -> None:
    done = python(f"{statements}; print(timm.create_model('resnet10t').num_classes)")
    assert (done.returncode, done.stdout) == (0, "1000\n"), done.stderr


@pytest.mark.grid
def test_where_torchvisions_operators_do_not_load_ours_works_and_timm_does_after_it(unmatched: Path) -> None:
    alone = python("import timm", unmatched)
    assert "operator torchvision::nms does not exist" in alone.stderr
    done = python(f"{OURS}; import timm; print(timm.create_model('resnet10t').num_classes)", unmatched)
    assert (done.returncode, done.stdout) == (0, "1000\n"), done.stderr
    caught = python(f"try:\n import timm\nexcept RuntimeError: pass\n{OURS}; import timm; print('both')", unmatched)
    assert (caught.returncode, caught.stdout) == (0, "both\n"), caught.stderr
