import os
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parent / "helpers"
TESTS = """
import pytest

def test_runs(): pass

@pytest.mark.gpu
def test_needs_a_gpu(): pytest.skip("no GPU")

@pytest.mark.skipif(True, reason="no browser here")
def test_needs_a_browser(): pass

@pytest.mark.xfail(strict=True)
def test_is_known_to_fail(): assert False
"""


@pytest.mark.parametrize(
    ("ci", "status", "closing"),
    [("true", 1, "1 passed, 1 skipped, 1 xfailed, 2 errors"), ("", 0, "1 passed, 3 skipped, 1 xfailed")],
)
def test_under_ci_what_is_skipped_has_failed_unless_the_list_says_why(
    tmp_path: Path, ci: str, status: int, closing: str
) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_none.py").write_text("import pytest\npytest.importorskip('nothing_here')\n")
    environment = os.environ | {"CI": ci, "PYTHONPATH": str(HELPERS), "COLUMNS": "200"}
    words = [sys.executable, "-m", "pytest", "-p", "skips", "-p", "no:cacheprovider", "-c", os.devnull, str(tmp_path)]
    words += ["--continue-on-collection-errors", "-W", "ignore"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == status
    assert closing in done.stdout.splitlines()[-1]
    if ci:
        assert (
            "no browser here; under CI=true that is a failure, unless tests/helpers/skips.py says why it may be"
            in done.stdout
        )
