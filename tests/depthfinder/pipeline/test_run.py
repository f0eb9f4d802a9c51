"""The main job, typed as a user types it, on the device of exact arithmetic; and every way of interrupting it."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml

import depthfinder as df
from commands import Command
from curves import points
from depthfinder.config.run import RunConfig
from depthfinder.folder.curve_file import read_csv
from forked import Typed
from profiles.store import load_profile
from pruner.choices.plan import Plan
from pruner.data.digits import DigitScenes
from pruner.models.load import load_model
from pruner.models.weights_file import metadata_of, read_weights
from pruner.network.surgery import apply, merge

NETWORK = "patch_size=8 embed_dim=24 depth=4 num_heads=2 num_classes=10"
WORDS = [
    *shlex.split("run --model deit_tiny_patch16_224 --img-size 32 --dataset digits --device null --budget-ratio 0.7"),
    *shlex.split(
        "--n-trials 10 --supernet-epochs 1 --fit-images 40 --progressive-epochs 1 --max-seconds 20 --experiment here "
        "--log-tensorboard"
    ),
    *(word for pair in shlex.split(NETWORK) for word in ("--model-kwargs", pair)),
]
STAGES = ("baseline", "profile", "supernet", "search", "train", "merge", "measure", "report")
FILES = (
    "args.yaml",
    "log.txt",
    "merged.onnx",
    "merged.safetensors",
    "plan.json",
    "profile.csv",
    "profile.json",
    "report.html",
    "result.json",
    "study.db",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run that nothing interrupted, and what it printed, in a process that began with nothing."""
    folder = tmp_path_factory.mktemp("finished")
    command = [sys.executable, "-m", "depthfinder", *WORDS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "depthfinder-out" / "here", done.stdout + done.stderr


def test_a_run_leaves_what_a_person_looks_for(finished: tuple[Path, str]) -> None:
    folder, output = finished
    assert set(FILES) <= {path.name for path in folder.iterdir()}
    assert not list(folder.rglob("*.writing"))
    for words in ("accuracy, held-out images", "blocks kept / ", "0.7 of the baseline: met"):
        assert words in output
    assert "the study: depthfinder dashboard " in output
    assert yaml.safe_load((folder / "args.yaml").read_text())["budget_ratio"] == 0.7
    assert set(json.loads((folder / "state.json").read_text())) == set(STAGES)


def test_the_result_is_what_the_files_say(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    result = json.loads((folder / "result.json").read_text())
    plan = Plan.from_json((folder / "plan.json").read_text())
    profile = load_profile(folder / "profile.json")
    assert result["plan"] == dict(plan.choices)
    assert result["pruned"]["latency"]["latency_ms"] == pytest.approx(profile.latency_ms(plan), rel=1e-9)
    assert result["verdict"]["answer"] == "met"
    assert result["baseline"]["accuracy"] == json.loads((folder / "baseline.json").read_text())["accuracy"]
    assert result["measured_ratio"]["value"] <= 0.7
    assert result["num_evaluations"] == 10
    assert result["pruned"]["parameters"] < result["baseline"]["parameters"]
    assert sum(result["pruned"]["blocks"].values()) == 8


def test_a_merged_network_loads_back_from_its_folder(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    network = df.load_merged(folder)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(folder / "merged.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(logits, network(images).detach().numpy(), atol=1e-4)
    # Of the built-in scenes their size is all that is known.
    learnt_from = session.get_modelmeta().custom_metadata_map["depthfinder.images"]
    assert json.loads(learnt_from) == {"sizes": [[32, 32]]}
    assert metadata_of(folder / "merged.safetensors")["depthfinder.images"] == learnt_from
    with pytest.raises(FileNotFoundError):
        df.load_merged(folder / "nowhere")


def test_onnxruntime_alone_gives_the_class_that_the_merged_weights_give(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    plan = Plan.from_json((folder / "plan.json").read_text())
    network = RunConfig.load(folder / "args.yaml").network
    cut = apply(load_model(plan.model, **network.kwargs), plan)
    cut.set_lambda(0.0)
    merged = merge(cut)
    merged.load_state_dict(read_weights(folder / "merged.safetensors"))
    images = torch.cat([images for images, _ in DigitScenes(test_images=100).test_batches(batch_size=50)])
    session = onnxruntime.InferenceSession(folder / "merged.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    expected = merged(images).detach().numpy()
    assert np.array_equal(logits.argmax(1), expected.argmax(1))
    assert np.abs(logits - expected).max() < 1e-4


def test_the_report_stands_by_itself(finished: tuple[Path, str]) -> None:
    page = (finished[0] / "report.html").read_text()
    assert page.count("<svg") == 5
    for reference in ("src=", "@import", "<script", "<link"):
        assert reference not in page
    assert "What became of every block" in page
    training = page.partition("How the training went")[2].partition("The candidates that were measured")[0]
    assert training.count("<svg") == 2
    supernet, progressive = training.split("<svg")[1:]
    assert ">lambda<" in progressive
    assert ">lambda<" not in supernet


@pytest.mark.parametrize("training", ["supernet", "progressive"])
def test_tensorboard_is_told_what_the_table_says(finished: tuple[Path, str], training: str) -> None:
    folder, _ = finished
    epochs = read_csv((folder / f"{training}.csv").read_text())
    shown = points(folder / "tensorboard" / training)
    assert shown["loss"] == [(one.index, pytest.approx(one.loss)) for one in epochs]
    assert shown["accuracy"] == [(one.index, pytest.approx(one.accuracy)) for one in epochs]
    assert ("lambda" in shown) == (training == "progressive")


def test_a_finished_run_says_so_at_once(
    finished: tuple[Path, str], depthfinder: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "log.txt"}
    monkeypatch.chdir(folder.parent.parent)
    done = depthfinder(*WORDS)
    assert done.returncode == 0, done.stderr
    assert "this run is finished already" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "log.txt"} == before


def test_a_finished_run_is_shown_without_what_it_was_made_with(finished: tuple[Path, str]) -> None:
    code = (
        "import sys, depthfinder.cli.app as cli; cli.report_command(sys.argv[1]); print(*sys.modules, file=sys.stderr)"
    )
    code = code.replace("sys.argv[1]", "cli.Path(sys.argv[1])")
    command = [sys.executable, "-c", code, str(finished[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "accuracy, held-out images" in done.stdout
    assert not {"torch", "timm", "sklearn", "scipy", "optuna", "matplotlib"} & set(done.stderr.split())


def test_its_own_arguments_file_repeats_a_run(
    finished: tuple[Path, str], depthfinder: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = finished
    monkeypatch.chdir(folder)
    done = depthfinder("run", "--config", "args.yaml", "--output", str(folder.parent), "--experiment", "here")
    assert done.returncode == 0, done.stderr
    assert "this run is finished already" in done.stdout


def test_other_arguments_in_the_same_folder_are_refused(
    finished: tuple[Path, str], depthfinder: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = finished
    monkeypatch.chdir(folder.parent.parent)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = depthfinder(*WORDS, "--lr", "1e-3")
    assert done.returncode == 2
    assert "(lr: 0.0005 then, 0.001 now), which its supernet stage depends on; give this one a folder" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.grid
def test_a_finished_run_of_more_trials_is_gone_on_with_and_leaves_nothing_stale(
    finished: tuple[Path, str], depthfinder: Command, tmp_path: Path
) -> None:
    there = tmp_path / "depthfinder-out" / "here"
    shutil.copytree(finished[0].parent, there.parent)
    supernet = there / "checkpoints" / "supernet.safetensors"
    kept = {path: path.read_bytes() for path in (supernet, there / "profile.json")}
    before = {name: (there / name).read_bytes() for name in ("plan.json", "merged.onnx", "result.json", "report.html")}
    done = depthfinder(*(word if word != "10" else "14" for word in WORDS))
    assert done.returncode == 0, done.stderr
    log = " ".join(done.stderr.split())
    assert "n_trials: 10 then, 14 now: done again: search, merge, measure, report, train" in log
    assert "supernet: done before" in log
    assert {path: path.read_bytes() for path in kept} == kept
    assert {name: (there / "earlier" / name).read_bytes() for name in before} == before
    evaluated = [json.dumps(one["choices"]) for one in json.loads((there / "search.json").read_text())["evaluated"]]
    first = json.loads((there / "earlier" / "search.json").read_text())["evaluated"]
    assert len(set(evaluated)) == len(evaluated) == 14
    assert {json.dumps(one["choices"]) for one in first} < set(evaluated)
    assert json.loads((there / "result.json").read_text())["num_evaluations"] == 14
    assert yaml.safe_load((there / "args.yaml").read_text())["n_trials"] == 14


def wait_for(run: Typed, log: Path, line: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if log.exists() and line in log.read_text():
            return
        assert run.status(0) is None, run.printed
        time.sleep(0.02)
    raise TimeoutError(line)


def test_a_run_killed_in_every_stage_ends_with_the_same_network(finished: tuple[Path, str], tmp_path: Path) -> None:
    log = tmp_path / "depthfinder-out" / "here" / "log.txt"
    for index, stage in enumerate(STAGES):
        if log.exists():
            log.unlink()
        run = Typed(tmp_path, WORDS)
        wait_for(run, log, f"{stage} ...")
        time.sleep(0.1 * index % 0.3)
        run.process.kill()
        assert run.status(60) == -signal.SIGKILL
    last = Typed(tmp_path, WORDS)
    assert last.status(200) == 0, last.printed
    for name in ("plan.json", "merged.onnx", "merged.safetensors", "profile.csv"):
        assert (log.parent / name).read_bytes() == (finished[0] / name).read_bytes(), name
    assert [step for step, _ in points(log.parent / "tensorboard" / "progressive")["loss"]] == [1]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_saves_and_stops(tmp_path: Path, number: int, status: int) -> None:
    folder = tmp_path / "depthfinder-out" / "here"
    run = Typed(tmp_path, [*WORDS, "--widths", "none"])  # whose fitting comes before the first step
    wait_for(run, folder / "log.txt", "supernet ...")
    time.sleep(0.3)
    assert run.process.pid is not None
    os.kill(run.process.pid, number)
    assert run.status(60) == status, run.printed
    assert "stopping after this step" in run.printed
    assert "Traceback" not in run.printed
    assert (folder / "checkpoints" / "supernet.safetensors").exists()
    assert not json.loads((folder / "state.json").read_text())["supernet"]["done"]
