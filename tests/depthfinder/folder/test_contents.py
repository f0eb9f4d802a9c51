"""What one command leaves, given to the others: each answers, or says in one line what is there and what to type."""

import json
import re
import shlex
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import depthfinder as df
from commands import Command
from depthfinder.folder.contents import contents_of
from depthfinder.folder.mask_result import MaskResult
from depthfinder.folder.stages import ALL_STAGES, FRONT_STAGES, MASK_STAGES, stages_of
from forked import Typed

SMALL = shlex.split("--model deit_tiny_patch16_224 --img-size 32 --dataset digits --device null --max-seconds 0.5") + [
    word
    for pair in ("patch_size=16", "embed_dim=12", "depth=2", "num_heads=2", "num_classes=10")
    for word in ("--model-kwargs", pair)
]
CUT = shlex.split("--budget-ratio 0.8 --n-trials 3 --supernet-epochs 1 --fit-images 40 --progressive-epochs 1")
MASKED = shlex.split("--method magnitude --epochs 1 --distill-loss-weight 0")
RUN_STAGES = stages_of(ALL_STAGES, finetunes=False)
# What stands in a run folder when a stage is done, and not before.
MADE_BY = {
    "baseline": ("baseline.json",),
    "profile": ("profile.json", "profile.csv"),
    "supernet": ("supernet.csv", "checkpoints/supernet.safetensors"),
    "search": ("search.json", "plan.json", "study.db"),
    "train": ("progressive.csv", "checkpoints/progressive.safetensors"),
    "merge": ("merged.onnx", "merged.safetensors", "parity.json"),
    "measure": ("result.json",),
    "report": ("report.html",),
}


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder in which every command has been; `search` leaves latency tables as `profile` does."""
    place = tmp_path_factory.mktemp("left")
    output = place / "depthfinder-out"
    for words in (
        ["search", *SMALL, *CUT, "--experiment", "run"],
        ["run", *SMALL, *CUT, "--experiment", "run"],
        ["pareto", *SMALL, "--n-trials", "3", "--supernet-epochs", "1", "--fit-images", "40", "--experiment", "front"],
        ["sparsify", *SMALL, *MASKED, "--granularity", "channels", "--experiment", "channels"],
        ["sparsify", *SMALL, *MASKED, "--granularity", "4x4", "--experiment", "masks"],
    ):
        done = Typed(place, words)
        assert done.status(200) == 0, done.printed
        if words[0] == "search":
            shutil.copytree(output / "run", output / "searched")
    for stage in RUN_STAGES:
        stopped_before(stage, output / "run", output / f"before {stage}")
    for name, kind in (("front", FRONT_STAGES), ("channels", MASK_STAGES)):
        shutil.copytree(output / name, output / f"half a {name}")
        state = {stage: {"seconds": 1.0, "done": False} for stage in kind[-2:]}
        (output / f"half a {name}" / "state.json").write_text(json.dumps(state))
        for made in ("front.json", "front.svg", "result.json", "report.html", "masked.safetensors"):
            (output / f"half a {name}" / made).unlink(missing_ok=True)
    (output / "empty").mkdir()
    (output / "file").write_text("text")
    return place


def stopped_before(stage: str, finished: Path, folder: Path) -> None:
    """A folder as a run leaves it that was killed as `stage` began."""
    shutil.copytree(finished, folder)
    undone = RUN_STAGES[RUN_STAGES.index(stage) :]
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({k: v for k, v in state.items() if k not in undone}))
    for name in (name for one in undone for name in MADE_BY[one]):
        (folder / name).unlink()


@pytest.fixture
def taken_port() -> Iterator[str]:
    """A port that is in use: a dashboard that finds all it needs ends there, in place of serving for ever."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        yield str(busy.getsockname()[1])


FOLDERS = {
    ".": "it is a folder of runs; name one of them: before baseline, before measure, before merge, before profile and ",
    "profiles": "these are latency tables; look at one: `depthfinder profiles show ",
    "profiles/null-arithmetic-fp32": "these are latency tables; look at one: `depthfinder profiles show ",
    "searched": "a finished search, nothing trained yet; go on: `depthfinder run --config ",
    "run": "",
    "front": "a front of plans, none of them trained; look at it: `depthfinder dashboard ",
    "channels": "this is what sparsify left, and that has no study; look at it: `depthfinder report ",
    "masks": "this is what sparsify left, and that has no study; look at it: `depthfinder report ",
    "half a front": "a pareto that stopped before 'baseline'; go on: `depthfinder pareto --config ",
    "half a channels": "a sparsify that stopped before 'baseline'; type the same command again",
    "empty": "nothing that Depthfinder leaves is in it; name the folder of a run",
    "nowhere": "there is no such folder; name the folder of a run",
    "file": "it is a file; name the folder of a run",
    **{f"before {one}": f"a run that stopped before '{one}'; go on: `depthfinder run --config " for one in RUN_STAGES},
    "before train": "a finished search, nothing trained yet; go on: `depthfinder run --config ",
}
ANSWERED = {
    "report": {"run", "channels", "masks", "before report"},
    "report --json": {"run", "channels", "masks", "before report"},
    "measure --seconds 0.2": {"run", "channels", "masks", "before report", "before measure"},
    "dashboard": {"run", "searched", "front", *(f"before {one}" for one in ("train", "merge", "measure", "report"))},
}
WANTED = {
    "report": "finished run",
    "report --json": "finished run",
    "measure --seconds 0.2": "merged network",
    "dashboard": "finished search",
}


# As JSON a report answers where it does anyhow.
ASKED = [
    (command, folder)
    for command in ANSWERED
    for folder in FOLDERS
    if "json" not in command or folder in ANSWERED[command]
]


@pytest.mark.parametrize(("command", "folder"), ASKED)
def test_every_command_on_every_folder_answers_or_says_what_is_there(
    depthfinder: Command, left: Path, command: str, folder: str, taken_port: str, tmp_path: Path
) -> None:
    there, place = left / "depthfinder-out" / folder, tmp_path / "out" / folder
    place.parent.mkdir(parents=True, exist_ok=True)
    if there.is_dir():
        shutil.copytree(there, place)
    elif there.is_file():
        shutil.copy(there, place)
    path = str(place)
    more = ["--port", taken_port] if command == "dashboard" else []
    done = depthfinder(*command.split(), path, *more)
    assert "Traceback" not in done.stderr
    if folder in ANSWERED[command]:
        if command == "dashboard":
            assert f"port {taken_port} of 127.0.0.1 cannot be had" in done.stderr or "not installed" in done.stderr
        else:
            assert done.returncode == 0, done.stderr
        return
    if command.startswith("measure") and folder in ("nowhere", "file"):
        assert done.returncode in (2, 3)
        assert len(done.stderr.splitlines()) == 1
        return
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.splitlines()) == 1
    wanted = "masked network" if command.startswith("measure") and "channels" in folder else WANTED[command]
    assert f"holds no {wanted}: {FOLDERS[folder]}" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("folder", ["searched", "before profile", "before report", "half a front"])
def test_what_is_advised_can_be_typed(depthfinder: Command, left: Path, folder: str, tmp_path: Path) -> None:
    shutil.copytree(left / "depthfinder-out", tmp_path / "a place" / "out")
    contents = contents_of(tmp_path / "a place" / "out" / folder)
    error = str(contents.lacking("finished run", "result.json"))
    (advised, *_) = re.findall(r"go on: `depthfinder (.+?)`", error)
    done = depthfinder(*shlex.split(advised))
    assert done.returncode == 0, done.stderr
    assert contents_of(contents.folder.path).next_stage is None


@pytest.mark.parametrize(("folder", "title"), [("channels", "channels"), ("masks", "4x4")])
def test_sparsify_leaves_a_report_and_report_makes_it_where_it_is_gone(
    depthfinder: Command, left: Path, folder: str, title: str, tmp_path: Path
) -> None:
    shutil.copytree(left / "depthfinder-out" / folder, tmp_path / "here")
    page = (tmp_path / "here" / "report.html").read_text()
    result = MaskResult.load(tmp_path / "here" / "result.json")
    for text in (f"{result.accuracy_before:.2%}", f"{result.accuracy_after:.2%}", f"{result.sparsity:.1%}"):
        assert text in page
    assert f"% of its {title} gone</title>" in page
    assert all(f">{layer}<" in page for layer in result.layers)
    assert page.count("<svg") == (3 if result.removal else 2)
    assert ("measured latency" in page) is (result.removal is not None)
    for reference in ("src=", "@import", "<script", "<link"):
        assert reference not in page
    (tmp_path / "here" / "report.html").unlink()
    done = depthfinder("report", "here")
    assert done.returncode == 0, done.stderr
    assert all(line in done.stdout for line in result.lines)
    assert (tmp_path / "here" / "report.html").read_text() == page


def test_what_sparsify_handed_over_is_measured_beside_its_baseline(depthfinder: Command, left: Path) -> None:
    for folder, is_masked in (("channels", False), ("masks", True)):
        path = str(left / "depthfinder-out" / folder)
        done = depthfinder("measure", path, "--seconds", "0.3", "--json")
        assert done.returncode == 0, done.stderr
        names = [network["network"] for network in json.loads(done.stdout)["networks"]]
        assert names == [f"{path} (baseline)", path]
        assert ("so it takes what the baseline takes" in done.stderr) is is_masked
    exact = depthfinder("measure", str(left / "depthfinder-out/masks"), "--device", "null", "--json")
    assert [one["against_first"]["value"] for one in json.loads(exact.stdout)["networks"]] == [1.0, 1.0]
    refused = depthfinder("measure", str(left / "depthfinder-out/channels"), "--device", "null")
    assert refused.returncode == 2
    assert "null runs no ONNX files; ort-cpu does: --device ort-cpu" in refused.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("result.json", "", "result.json is damaged; remove "),
        ("result.json", "[]", "result.json is damaged; remove "),
        ("result.json", '{"model": "x"}', "result.json is damaged; remove "),
        ("state.json", "{", "state.json is damaged; remove it and type the run again"),
        ("state.json", "[]", "state.json is damaged; remove it and type the run again"),
        ("args.yaml", "", "args.yaml is damaged: it holds no arguments"),
        ("args.yaml", "a: [", "args.yaml is damaged: it holds no arguments"),
    ],
)
@pytest.mark.parametrize("folder", ["run", "channels"])
def test_damaged_files_of_a_folder_are_named(
    depthfinder: Command, left: Path, folder: str, name: str, content: str, message: str, tmp_path: Path
) -> None:
    shutil.copytree(left / "depthfinder-out" / folder, tmp_path / "here")
    (tmp_path / "here" / name).write_text(content)
    if name != "result.json":
        (tmp_path / "here" / "result.json").unlink()
    done = depthfinder("report", "here")
    assert done.returncode == 3, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("folder", "file"), [("run", "result.json"), ("channels", "masked.safetensors")])
def test_a_file_that_is_gone_is_named(depthfinder: Command, left: Path, folder: str, file: str, tmp_path: Path) -> None:
    shutil.copytree(left / "depthfinder-out" / folder, tmp_path / "here")
    (tmp_path / "here" / file).unlink()
    done = depthfinder("report" if file == "result.json" else "measure", "here")
    assert done.returncode == 3
    assert f"there is no {file} in it any more; remove here/state.json and type its command again" in done.stderr


@pytest.mark.parametrize("folder", ["searched", "front", "channels", "masks", "before merge", "empty", "nowhere"])
def test_from_python_a_folder_without_a_merged_network_says_what_it_holds(left: Path, folder: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"holds no merged network: {re.escape(FOLDERS[folder])}"):
        df.load_merged(left / "depthfinder-out" / folder)


def test_a_search_under_a_name_of_its_own_is_gone_on_from_under_that_name(depthfinder: Command, left: Path) -> None:
    asked = yaml.safe_load((left / "depthfinder-out/searched/args.yaml").read_text())
    assert asked["model"] == "deit_tiny_patch16_224"
    assert "--experiment searched" in contents_of(left / "depthfinder-out/searched").resuming("run")
