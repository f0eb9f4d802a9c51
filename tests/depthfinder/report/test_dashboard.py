"""The command `dashboard`, started as a user starts it, and looked at in a real browser."""

import importlib.util
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest
from PIL import Image

from commands import Command
from depthfinder.folder.run_folder import RunFolder
from depthfinder.report.pictures import COLOURS, block_map
from depthfinder.report.review import review_of
from profiles.profile import Profile
from reviews import EARLIER, INFEASIBLE, NUM_PLANS, TRAP, UNFIT, hostile_profile, write_run

ROOT = Path(__file__).parents[3]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
SHOWN_WINNER = EARLIER  # of equal scores the winner is shown first

needs_dashboard = pytest.mark.skipif(
    not importlib.util.find_spec("optuna_dashboard"), reason="optuna-dashboard is not installed"
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason=f"no browser here: none of {', '.join(BROWSERS)}")


@dataclass(frozen=True)
class Served:
    """A dashboard that is up: its address without a path, and what the command said."""

    address: str
    said: str

    def json(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def table() -> Profile:
    return hostile_profile()


@pytest.fixture(scope="module")
def run(table: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dashboard") / "run"
    write_run(folder, table)
    return folder


@pytest.fixture(scope="module")
def served(run: Path) -> Iterator[Served]:
    """The command as a process; at the end Ctrl-C, which it takes without a word."""
    words = [sys.executable, "-m", "depthfinder", "dashboard", str(run), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(words, cwd=ROOT, text=True, preexec_fn=heed_ctrl_c, **pipes)
    try:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", first)
        assert address, first + second
        yield Served(address[0], first + second)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=10)
        assert (process.returncode, rest, errors) == (0, "", "")
    finally:
        process.kill()
        process.communicate()


def heed_ctrl_c() -> None:
    """Where the tests run in the background, what they start would not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def seen(served: Served, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the browser makes of each page, as HTML, and one of them as a picture: all of them at once, to save time."""
    study = f"{served.address}/dashboard/studies/0"
    (picture,) = (a for a in served.json("/api/studies/0?after=0")["trials"][0]["artifacts"] if "map" in a["filename"])
    pages = {
        "study": study,
        "note": f"{study}/note",
        "trials": f"{study}/trials?numbers={INFEASIBLE},{UNFIT},{SHOWN_WINNER}",
        "picture": f"{served.address}/artifacts/0/0/{picture['artifact_id']}",
        "screenshot": f"{study}/trials?numbers={SHOWN_WINNER}",
    }

    def look(page: str) -> str:
        folder = tmp_path_factory.mktemp(page)
        shot = folder / "shot.png"
        task = f"--screenshot={shot}" if page == "screenshot" else "--dump-dom"
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", "--hide-scrollbars"]
        options += ["--virtual-time-budget=10000", "--window-size=1500,1300", "--no-first-run"]
        options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        done = subprocess.run([str(BROWSER), *options, task, pages[page]], capture_output=True, text=True, timeout=90)
        return str(shot) if page == "screenshot" else done.stdout

    with ThreadPoolExecutor(3) as pool:
        return dict(zip(pages, pool.map(look, pages), strict=True))


def shown(page: str) -> str:
    """The text of a page, as a person reads it."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page)))


@needs_dashboard
def test_the_command_says_where_it_is_and_who_can_reach_it(served: Served, run: Path) -> None:
    assert "loopback only" in served.said
    assert "any user of this machine" in served.said
    assert str(run / "review") in served.said
    (study,) = served.json("/api/studies")["study_summaries"]
    assert study["study_name"].endswith("a copy for review")


@needs_dashboard
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc to read the listening sockets from")
def test_nothing_but_loopback_is_bound(served: Served) -> None:
    port = f"{int(served.address.rpartition(':')[2]):04X}"
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    listening = [row[1] for row in rows if row[1].endswith(f":{port}") and row[3] == "0A"]
    assert listening == [f"0100007F:{port}"]


@needs_dashboard
def test_a_page_from_elsewhere_is_refused(served: Served) -> None:
    """One whose name was made to point to this machine: the browser sends that name along."""
    request = urllib.request.Request(f"{served.address}/api/studies", headers={"Host": "elsewhere.example"})
    with pytest.raises(HTTPError, match="403"):
        urllib.request.urlopen(request)


@needs_dashboard
def test_the_run_itself_is_out_of_reach(served: Served, run: Path) -> None:
    """What was sent is the review copy's; the run's own files are not among what is served."""
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    (study,) = served.json("/api/studies")["study_summaries"]
    body = json.dumps({"version": 2, "body": "read it"}).encode()
    headers = {"Content-Type": "application/json"}
    note = f"{served.address}/api/studies/{study['study_id']}/{INFEASIBLE + 1}/note"
    urllib.request.urlopen(urllib.request.Request(note, data=body, headers=headers, method="PUT"))
    assert "read it" in (run / "review" / "study.log").read_text()
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    with pytest.raises(HTTPError, match=r"40[34]"):
        urllib.request.urlopen(f"{served.address}/static/../../search.json")


@needs_dashboard
@needs_browser
def test_the_best_trial_on_the_page_is_the_winner(seen: dict[str, str]) -> None:
    assert f"Best Trial (number={SHOWN_WINNER}) 0.8 " in shown(seen["study"])
    # The history's line of best values ends at the winner's; what does not fit is grey in it.
    grey = re.findall(r'<path class="point"[^>]*fill: rgb\(204, 204, 204\)', seen["study"])
    green = re.findall(r'<path class="point"[^>]*fill: rgb\(0, 204, 150\)', seen["study"])
    assert len(grey) == len((INFEASIBLE, UNFIT))
    assert len(green) == NUM_PLANS - len(grey)


@needs_dashboard
@needs_browser
def test_each_trial_has_its_verdict_its_note_and_its_picture(seen: dict[str, str], served: Served) -> None:
    numbers, parts = (INFEASIBLE, UNFIT, SHOWN_WINNER), re.split(r"Trial \d+ \(trial_id=", seen["trials"])[1:]
    pages = dict(zip(numbers, parts, strict=True))
    assert "Pruned Note Does not fit by the table; not measured Out of the running" in shown(pages[INFEASIBLE])
    assert "Pruned Note Does not surely fit, as measured Out of the running" in shown(pages[UNFIT])
    assert "Complete Best Trial Note The winner: fits, as measured" in shown(pages[SHOWN_WINNER])
    assert "agreement with the baseline 80.00%" in shown(pages[SHOWN_WINNER])
    assert "dropped (2 of 8): " in shown(pages[SHOWN_WINNER])
    assert "report.html" in pages[SHOWN_WINNER]
    for page in pages.values():
        address = re.search(r'<img[^>]*src="(/artifacts/[^"]+)"', page)
        assert address
        with urllib.request.urlopen(served.address + address[1]) as answer:
            assert answer.headers["Content-Type"] == "image/svg+xml"
            assert answer.read().startswith(b"<svg ")


@needs_dashboard
@needs_browser
def test_the_block_map_is_drawn(seen: dict[str, str]) -> None:
    pixels = np.asarray(Image.open(seen["screenshot"]).convert("RGB"))
    keep = tuple(bytes.fromhex(COLOURS["keep"][1:]))
    assert int((pixels == keep).all(axis=-1).sum()) > 5_000


@needs_dashboard
@needs_browser
def test_the_whole_is_introduced(seen: dict[str, str]) -> None:
    text = shown(seen["note"])
    assert "This is a copy of a search" in text
    assert (
        f"plans evaluated {NUM_PLANS} out of the running 2 The winner: trial {SHOWN_WINNER}, fits, as measured" in text
    )
    assert re.search(r"budget \d\.\d{3} ms", text)


@needs_dashboard
@needs_browser
@pytest.mark.parametrize("page", ["study", "note", "trials", "picture"])
def test_names_are_shown_as_text_and_do_nothing(seen: dict[str, str], page: str) -> None:
    assert re.sub(r"\s+", " ", TRAP) in shown(seen[page])
    assert "{{7*7}}" in shown(seen[page])
    assert 'data-trapped="yes"' not in seen[page]
    assert "javascript:" not in "".join(re.findall(r'(?:href|src)="([^"]*)"', seen[page]))


@needs_dashboard
def test_a_copy_is_built_again_when_the_run_has_changed_and_only_then(tmp_path: Path, table: Profile) -> None:
    folder = RunFolder(tmp_path / "run")
    write_run(folder.path, table)
    log = review_of(folder).study_log
    log.write_text(log.read_text() + "\n")
    assert review_of(folder).study_log.read_text().endswith("\n\n"), "what a reviewer wrote is still there"
    folder["report.html"].write_text("<title>another report</title>")
    assert not review_of(folder).study_log.read_text().endswith("\n\n")
    assert (folder["review.before"] / "study.log").read_text().endswith("\n\n")


@needs_dashboard
def test_a_plan_that_was_never_evaluated_has_no_review(depthfinder: Command, tmp_path: Path, table: Profile) -> None:
    write_run(tmp_path / "run", table)
    record = json.loads((tmp_path / "run" / "plan.json").read_text())
    (tmp_path / "run" / "plan.json").write_text(json.dumps(record | {"choices": {}}))
    found = json.loads((tmp_path / "run" / "search.json").read_text())
    found["evaluated"] = [entry for entry in found["evaluated"] if entry["choices"]]
    (tmp_path / "run" / "search.json").write_text(json.dumps(found))
    done = depthfinder("dashboard", "run")
    assert done.returncode == 1
    assert "plan.json is none of the plans" in done.stderr
    assert not (tmp_path / "run" / "review").exists()


@pytest.mark.parametrize(
    ("left", "message"),
    [
        ([], "nothing that Depthfinder leaves is in it; name the folder of a run"),
        (["args.yaml"], "a run that stopped before 'baseline'; go on: `depthfinder run --config run/args.yaml"),
    ],
)
def test_a_run_without_a_search_names_the_next_step(
    depthfinder: Command, tmp_path: Path, left: list[str], message: str
) -> None:
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).write_text("model: deit_digits\n")
    done = depthfinder("dashboard", "run")
    assert done.returncode == 3
    assert "run holds no finished search" in done.stderr
    assert message in done.stderr


@needs_dashboard
def test_a_port_that_is_taken_is_said(depthfinder: Command, tmp_path: Path, table: Profile) -> None:
    write_run(tmp_path / "run", table)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = depthfinder("dashboard", "run", "--port", str(port))
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 cannot be had: Address already in use; try --port 0" in done.stderr


def test_without_the_dashboard_the_command_says_how_to_get_it(
    depthfinder: Command, tmp_path: Path, table: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "run", table)
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)  # as if it were not there
    done = depthfinder("dashboard", "run")
    assert done.returncode == 3
    assert 'pip install "depthfinder[dashboard]"' in done.stderr
    assert not (tmp_path / "run" / "review").exists()


def test_a_block_map_shows_every_block_and_escapes_its_name() -> None:
    picture = block_map(["blocks.0.attn", "blocks.0.mlp", "blocks.<b>.mlp"], {"blocks.0.mlp": "merge"})
    assert [picture.count(f">{choice}<") for choice in ("keep", "merge", "drop")] == [2, 1, 0]
    assert ">attn<" in picture
    assert "&lt;b&gt;" in picture
    assert "<b>" not in picture


def test_a_block_is_drawn_as_wide_as_it_is() -> None:
    plan = {"blocks.0.mlp": "narrow-25", "blocks.1.mlp": "narrow-75"}
    picture = block_map(["blocks.0.mlp", "blocks.1.mlp", "blocks.2.mlp"], plan)
    widths = {
        fill: float(width) for width, fill in re.findall(r'width="([0-9.]+)" height="[0-9.]+" fill="(.*?)"', picture)
    }
    assert widths[COLOURS["narrow-25"]] == pytest.approx(0.25 * widths[COLOURS["keep"]], abs=0.1)
    assert widths[COLOURS["narrow-75"]] == pytest.approx(0.75 * widths[COLOURS["keep"]], abs=0.1)
    assert widths[COLOURS["drop"]] == widths[COLOURS["keep"]], "what is lost shows behind"
