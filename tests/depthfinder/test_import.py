"""`profile --import` of results that anybody may have written: below the output folder, or refused in one line."""

import copy
import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from depthfinder.folder.run_folder import RunFolder
from latency.devices import known_device
from latency.kit.runner import main
from latency.kit.writer import write_kit
from latency.mode import Mode
from networks import made
from profiles.store import load_profile
from search.storage.opening import open_storage

Record = dict[str, Any]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """What a kit brings back from this machine's processor."""
    folder = tmp_path_factory.mktemp("kit")
    write_kit(folder / "kit.zip", made("deit", 0), known_device("ort-cpu"), Mode(), batch_size=1, max_seconds=0.3)
    with zipfile.ZipFile(folder / "kit.zip") as archive:
        archive.extractall(folder / "target")
    main(folder / "target", ["--out", str(folder / "results.json")])
    record: Record = json.loads((folder / "results.json").read_text())
    return record


@pytest.fixture
def place(tmp_path: Path, depthfinder: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is typed: so deep that `../../../../X` is still among what the test looks at."""
    folder = tmp_path / "a" / "b" / "c" / "d"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def signed(record: Record, path: Path) -> None:
    """Writes results with a digest that is right: whoever changes them can make one."""
    body = {name: value for name, value in record.items() if name != "digest"}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**body, "digest": digest}))


def changed(record: Record, change: Callable[[Record], object]) -> Record:
    other = copy.deepcopy(record)
    change(other)
    return other


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


ODD_NAMES = ("../../../../X", "/etc/X", "..", ".", "a\\..\\b", "timm/resnet18.a1_in1k", ".profile")


@pytest.mark.parametrize(
    ("part", "name"),
    [
        *(("model", name) for name in ODD_NAMES),
        ("device", "../../../../X"),
        ("runtime", "/etc/X"),
        *(pytest.param(part, name, marks=pytest.mark.grid) for part in ("device", "runtime") for name in ODD_NAMES),
    ],
)
def test_what_is_read_in_lies_below_the_output_whatever_it_is_called(
    depthfinder: Command, place: Path, results: Record, name: str, part: str, tmp_path: Path
) -> None:
    parts = {
        "model": lambda record: record["kit"]["study"].update(model=name),
        "device": lambda record: record["kit"].update(device=name),
        "runtime": lambda record: record.update(runtime=f"{name} 1"),
    }
    signed(changed(results, parts[part]), place / "results.json")
    before = files(tmp_path)
    done = depthfinder("profile", "--import", "results.json")
    assert done.returncode == 0, done.stderr
    new = files(tmp_path) - before
    assert {path.suffix for path in new} == {".json", ".csv", ".svg"}
    assert {path.parents[1] for path in new} == {place / "depthfinder-out" / "profiles"}
    (table,) = (path for path in new if path.suffix == ".json")
    found = load_profile(table)
    assert {"model": found.model, "device": found.setting.device, "runtime": found.setting.runtime.split(" ")[0]}[
        part
    ] == name
    listed = depthfinder("profiles", "list")
    assert listed.returncode == 0, listed.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["kit"]["study"].update(model=""), "names a network, device or runtime ''"),
        (lambda record: record["kit"]["study"].update(model="a\0b"), "no kit writes that"),
        (lambda record: record["kit"]["study"].update(model="\x1b[31mred"), "no kit writes that"),
        (lambda record: record["kit"]["study"].update(model="x" * 5000), "no kit writes that"),
        (lambda record: record["kit"]["study"].update(model=["a"]), "no kit writes that"),
        (lambda record: record["kit"].update(device="a\nb"), "no kit writes that"),
        (lambda record: record["kit"]["mode"].update(dtype="../../X"), "'../../X' is not one of"),
        (lambda record: record["kit"]["study"].update(batch_size="../../X"), "batch_size"),
        (lambda record: record["kit"]["mode"].update(threads="../../X"), "holds what no kit writes"),
        (lambda record: record["kit"].pop("study"), "holds what no kit writes (KeyError('study'))"),
        (lambda record: record.update(kit=[]), "holds what no kit writes"),
        (lambda record: record["whole"].clear(), "holds what no kit writes"),
    ],
)
def test_what_no_kit_writes_is_refused_in_a_line_and_leaves_nothing(
    depthfinder: Command,
    place: Path,
    results: Record,
    change: Callable[[Record], object],
    message: str,
    tmp_path: Path,
) -> None:
    signed(changed(results, change), place / "results.json")
    before = files(tmp_path)
    done = depthfinder("profile", "--import", "results.json")
    assert done.returncode == 1, done.stderr
    assert message in re.sub(r"\s+", " ", done.stderr)
    assert done.stderr.isprintable() or done.stderr.strip().isprintable()
    assert files(tmp_path) == before


def test_brackets_without_end_and_a_folder_are_refused(depthfinder: Command, place: Path) -> None:
    (place / "deep.json").write_text("[" * 100_000)
    for name, message in (("deep.json", "is not whole"), (".", "cannot be read (Is a directory)")):
        done = depthfinder("profile", "--import", name)
        assert done.returncode == 1, done.stderr
        assert message in done.stderr


def test_a_link_out_of_the_output_is_not_followed(
    depthfinder: Command, place: Path, results: Record, tmp_path: Path
) -> None:
    signed(results, place / "results.json")
    outside = tmp_path / "outside"
    outside.mkdir()
    for link in ("profiles", "profiles/ort-cpu-onnxruntime-fp32"):
        path = place / "depthfinder-out" / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(outside)
        done = depthfinder("profile", "--import", "results.json")
        assert done.returncode == 2, done.stderr
        assert "leads out of" in done.stderr
        assert "remove the link" in done.stderr
        assert not list(outside.iterdir())
        path.unlink()


@pytest.mark.parametrize("command", ["run", "search", "pareto", "sparsify"])
@pytest.mark.parametrize("name", ["", "..", "../../X", "a/b", "/etc/X", "a\x1bb", pytest.param("x" * 300, id="long")])
def test_an_experiment_is_one_folder_below_the_output(
    depthfinder: Command, place: Path, command: str, name: str, tmp_path: Path
) -> None:
    (place / "args.yaml").write_text(json.dumps({"experiment": name, "device": "null"}))
    before = files(tmp_path)
    words = ["--experiment", name, "--device", "null"] if command == "sparsify" else ["--config", "args.yaml"]
    done = depthfinder(command, *words)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert files(tmp_path) == before


def test_links_out_of_a_run_folder_are_not_followed(depthfinder: Command, place: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = place / "depthfinder-out" / "here"
    folder.mkdir(parents=True)
    (folder / "checkpoints").symlink_to(outside)
    done = depthfinder("search", "--device", "null", "--experiment", "here", "--budget-ratio", "0.7")
    assert done.returncode == 2, done.stderr
    assert "here/checkpoints leads out of depthfinder-out" in done.stderr
    assert not list(outside.iterdir())


def test_a_model_named_with_a_slash_has_one_folder(depthfinder: Command, place: Path) -> None:
    done = depthfinder("search", "--device", "null", "--model", "../../X", "--budget-ratio", "0.7")
    assert done.returncode == 3
    assert "'../../X' is no network of timm's own" in done.stderr
    assert not (place / "depthfinder-out").exists()


@pytest.mark.parametrize("name", ["timm%2Fnet-s0", "a?b", "a#b", "%2E%2E%2F%2E%2E%2FX", "größe {1}"])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_study_of_a_run_lies_in_its_folder_whatever_that_is_called(name: str, workers: int, tmp_path: Path) -> None:
    folder = RunFolder.named(tmp_path / "a" / "b", name)
    folder.path.mkdir(parents=True)
    open_storage(folder.storage(workers))
    assert {path.parent for path in files(tmp_path)} == {folder.path}
