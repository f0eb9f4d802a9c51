"""The command line: what it answers, how quickly, and with which exit status."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import depthfinder as df
from commands import Command
from folders import folder_of

COMMANDS = (
    *("run", "search", "describe", "profile", "measure", "devices", "profiles", "predictor", "report"),
    *("dashboard", "sparsify"),
)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, depthfinder.cli.app; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "timm", "onnx", "onnxruntime", "optuna", "sklearn", "scipy", "matplotlib", "numpy"}
    assert "depthfinder" in loaded
    assert not heavy & set(loaded)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(depthfinder: Command, command: str) -> None:
    done = depthfinder(command, "--help")
    assert done.returncode == 0
    assert f"Example: depthfinder {command}" in re.sub(r"\s+", " ", done.stdout)


@pytest.mark.parametrize("script", ["profile", "search"])
def test_profile_and_search_are_commands_of_their_own(script: str) -> None:
    path = Path(sys.executable).parent / script
    done = subprocess.run([path, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert f"Usage: {script} [OPTIONS]" in done.stdout


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("run --budget-ms 3,2", 2, "--budget-ms: '3,2' is not a positive number of milliseconds"),
        ("run --budget-ms 3.2ms", 2, "--budget-ms: '3.2ms' is not a positive number of milliseconds"),
        ("run --budget-ms 0", 2, "'0' is not a positive number"),
        ("run --budget-ms -1", 2, "'-1' is not a positive number"),
        ("run --budget-ms nan", 2, "'nan' is not a positive number"),
        ("run --budget-ms 3 --budget-ratio 0.5", 2, "not both"),
        ("run --model test_vit", 2, "give a budget"),
        ("run --config none.yaml", 2, "--config none.yaml: there is no such file"),
        ("run --model deit_tiny_patch16_244 --budget-ms 3", 3, "nearest: deit_tiny_patch16_224"),
        ("run --device ort-migraphx", 3, "ort-migraphx is not here: onnxruntime"),
        ("pareto --device ort-migraphx", 3, "ort-migraphx is not here: onnxruntime"),
        ("search --budget-ms ort-cpu=3,ort-cuda=4", 3, "ort-cuda is not here: onnxruntime"),
        ("sparsify --granularity channels --device mi100", 3, "mi100 is not here: torch"),
        ("measure . --device mi100", 3, "mi100 is not here: torch"),
        ("run --device t4 --dtype bf16", 1, "no published rate for bf16; take --dtype fp32 or fp16"),
        ("search --device mi100 --channels-last", 1, "leave --channels-last out, or measure it there (--kit)"),
        ("search --device ort-cuda", 3, "ort-cuda is not here: onnxruntime"),
        ("profile --dtype fp16 --device ort-cpu --model test_vit", 2, "ort-cpu runs fp32, not fp16"),
        ("profile --dtype fp8", 2, "'fp8' is not one of 'fp32', 'fp16', 'bf16'"),
        (
            "run --model densenet121 --budget-ms 3",
            3,
            "no block of this DenseNet can be cut",
        ),
        ("run --data-dir nowhere --budget-ms 3", 3, "there is no folder nowhere"),
        ("run --dataset imagenet", 3, "there are: digits, folder"),
        ("run --model test_vit --dataset digits --device null --budget-ms 0.1", 3, "digits are images of (3, 32, 32)"),
        ("run --checkpoint none.pth", 3, "there is no file none.pth"),
        ("search --budget-ms 3.2ms", 2, "'3.2ms' is not a positive number of milliseconds"),
        ("search --budget-ms ort-cpu=3,ort-cpu=4", 2, "does not name every device once"),
        ("search --device cpu --budget-ms ort-cpu=3", 2, "--device cpu has no budget among ort-cpu"),
        ("search --sampler best", 2, "no sampler is called 'best'; nearest: exhaustive"),
        ("search --keep blocks.99", 1, "has no block 'blocks.99' to keep"),
        ("search --choices shrink", 1, "no block of deit_digits offers 'shrink'; there are: drop, keep, merge"),
        ("search --storage postgresql://me:pa55word@127.0.0.1:1/none", 3, "nothing answers at this host and port"),
        ("search --storage sqlite:///study.db --workers 2", 3, "is for one process: share the study among 2 workers"),
        ("run --device null --opt adamm", 2, "timm makes no optimizer of --opt adamm"),
        ("run --device null --sched plateau", 2, "goes by accuracy, which a step does not know"),
        ("run --device null --lambda-schedule steep", 2, "nearest: "),
        ("run --device null --closing-share 0", 2, "--closing-share: 0.0 is not a positive number"),
        ("search --device null --supernet-sampling best", 2, "nearest: "),
        ("pareto --device null --supernet-sampling latency", 2, "draws plans around a budget"),
        ("run --device null --amp --train-device cpu", 2, "on a processor try --amp-dtype bfloat16"),
        ("run --device null --kd-model-name deit_tinny", 3, "no model is called 'deit_tinny'"),
        ("run --device null --kd-model-name deit_digits --kd-checkpoint none.pt", 3, "there is no file none.pt"),
        ("run --device null --mixup 0.8 --train-batch-size 63", 2, "has to be a multiple of 2"),
        ("dashboard nowhere", 3, "holds no finished search"),
        ("report nowhere", 3, "holds no finished run"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_status(
    depthfinder: Command, words: str, status: int, message: str
) -> None:
    done = depthfinder(*words.split())
    assert done.returncode == status, done.stderr
    assert message in re.sub(r"[\s│]+", " ", done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


SMALL = (
    *("--model", "deit_tiny_patch16_224", "--img-size", "32", "--dataset", "digits"),
    *("--model-kwargs", "patch_size=8", "--model-kwargs", "embed_dim=24", "--model-kwargs", "depth=2"),
    *("--model-kwargs", "num_heads=2", "--model-kwargs", "num_classes=10"),
)
"""Of a network that is quick to judge on the demo's images."""


def test_a_budget_that_cannot_be_met_names_the_fastest_plan(depthfinder: Command) -> None:
    done = depthfinder("run", *SMALL, "--device", "null", "--budget-ratio", "0.001", "--max-seconds", "0.1")
    assert done.returncode == 4
    assert re.search(r"the fastest, which cuts 4 of 4 blocks, takes 0\.\d+ ms", done.stderr)


def test_a_budget_above_the_baseline_needs_no_pruning(depthfinder: Command) -> None:
    done = depthfinder("run", *SMALL, "--device", "null", "--budget-ms", "5", "--max-seconds", "0.1")
    assert done.returncode == 0
    assert "nothing need be pruned" in done.stdout


def test_snake_case_is_taken_for_kebab_case(depthfinder: Command) -> None:
    done = depthfinder("run", *SMALL, "--device", "null", "--budget_ms", "5", "--max_seconds", "0.1")
    assert "nothing need be pruned" in done.stdout


@pytest.mark.grid
def test_search_goes_on_from_the_profile_that_was_typed_before(depthfinder: Command, tmp_path: Path) -> None:
    small = "--img-size 32 --model-kwargs patch_size=8 --model-kwargs embed_dim=24 --model-kwargs depth=2 "
    small += "--model-kwargs num_classes=2"
    words = f"profile --model deit_tiny_patch16_224 {small} --device null --max-seconds 0.1 --json"
    profiled = depthfinder(*words.split())
    assert profiled.returncode == 0, profiled.stderr
    table = json.loads(profiled.stdout)
    baseline_ms = next(anchor for anchor in table["anchors"] if not anchor["choices"])["measured"]["latency_ms"]
    budget = f"{0.8 * baseline_ms:.9f}"

    nothing = depthfinder("search", "--budget-ms", budget)
    assert nothing.returncode == 3
    assert "name an ImageFolder with --data-dir" in nothing.stderr

    for index in range(40):
        path = tmp_path / "images" / ("dark", "light")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = np.random.default_rng(index).integers(0, 100, (32, 32, 3)) + 150 * (index % 2)
        Image.fromarray(shade.astype(np.uint8)).save(path)
    files = sorted(tmp_path.glob("depthfinder-out/profiles/**/*"))
    before = [(path, path.stat().st_mtime_ns) for path in files]
    found = depthfinder("search", "--budget-ms", budget, "--data-dir", "images", "--n-trials", "5")
    assert found.returncode == 0, found.stderr
    assert found.stderr.startswith(
        "no --model given: taking deit_tiny_patch16_224 on null, from the measured table depthfinder-out/profiles/null-"
    )
    assert "continuing from the profile depthfinder-out/profiles/null-arithmetic-fp32" in found.stderr
    assert [(path, path.stat().st_mtime_ns) for path in files] == before
    assert "plan: depthfinder-out/" in found.stdout
    assert len(list(tmp_path.glob("depthfinder-out/*/plan.json"))) == 1

    (onwards,) = re.findall(r"measure it: depthfinder (run --config \S+ --output \S+)", found.stdout)
    # What the search does not depend on may differ; what the training of its supernet does may not.
    run = depthfinder(*onwards.split(), "--supernet-epochs", "1")
    assert run.returncode == 2
    assert "supernet_epochs: 2 then, 1 now" in run.stderr
    run = depthfinder(*onwards.split(), "--progressive-epochs", "1")
    assert run.returncode == 0, run.stderr
    assert "search: done before" in run.stderr
    assert f"budget │ │ {float(budget):g} ms: met" in re.sub(r"\s+", " ", run.stdout)


def test_describe_shows_where_a_network_can_be_cut_and_where_not(depthfinder: Command) -> None:
    done = depthfinder("describe", "--model", "resnet18", "--img-size", "64", "--json")
    chain = json.loads(done.stdout)
    assert chain["input_size"] == [3, 64, 64]
    assert [block["choices"] for block in chain["blocks"][:3]] == [
        ["keep", "merge", "shrink", "drop"],
        ["keep", "merge", "shrink", "drop"],
        ["keep", "merge", "shrink"],
    ]
    assert chain["num_plans"] == 4**5 * 3**3
    shown = depthfinder("describe", "--model", "efficientnet_b0")
    assert "SqueezeExcite weighs channels by the image itself" in shown.stdout
    assert "mobilenet.block 16x112x112: conv1x1 16>96" in re.sub(r"[\s│]+", " ", shown.stdout)
    traced = depthfinder("describe", "--model", "swin_tiny_patch4_window7_224")
    assert "24 blocks read from what it computes" in re.sub(r"\s+", " ", traced.stdout)
    refused = depthfinder("describe", "--model", "densenet121")
    assert refused.returncode == 3
    assert "a DenseLayer is given tensors in lists" in refused.stderr


@pytest.mark.parametrize(
    ("words", "model", "is_described"),
    [
        ("profile --device mi100", "", True),
        ("profile --device mi100 --model test_vit", "--model test_vit ", True),
        ("profile --device ort-cuda", "", False),
        ("measure . --device mi100", "", True),
        ("sparsify --granularity channels --device mi100", "", True),
        ("run --model test_vit --budget-ms 3 --device ort-cuda", "--model test_vit ", False),
        ("search --model test_vit --budget-ms 3 --device ort-cuda", "--model test_vit ", False),
        ("search --model test_vit --budget-ms ort-cpu=3,ort-cuda=3", "--model test_vit ", False),
        ("pareto --model test_vit --device ort-cuda", "--model test_vit ", False),
    ],
)
def test_a_refusal_for_want_of_a_device_names_the_ways_on_alike_everywhere(
    depthfinder: Command, words: str, model: str, is_described: bool
) -> None:
    done = depthfinder(*words.split())
    assert done.returncode == 3
    lines = done.stderr.strip().splitlines()
    (start,) = (index for index, line in enumerate(lines) if line.startswith("error: "))
    device = "mi100" if "mi100" in words else "ort-cuda"
    assert re.fullmatch(rf"error: {device} is not here: .*\. Ways on:", lines[start])
    profile = f"`depthfinder profile {model}--device {device}"
    modelled = [f"  - {profile} --modelled` builds the table from published timings, which a search goes by"]
    assert lines[start + 1 :] == [
        "  - type the same on a machine that has it",
        f"  - {profile} --kit kit.zip` packs what to measure, to be run there and read back with `profile --import`",
        *(modelled if is_described else []),
        "  - take another device: `depthfinder devices` says which are here",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "run --device null --budget-ms 5 --keep blocks.99",
            "no --model given: this is the demo: deit_digits, a 12-block DeiT that ships ",
        ),
        (
            "search --device null --budget-ms 5 --keep blocks.99",
            "no --model given, and no latency table to go on from in depthfinder-out: ",
        ),
        (
            "run --device null --budget-ms 5 --data-dir images",
            "no --model given: taking the demo's network, deit_digits, ",
        ),
        ("sparsify --opt adamm", "no --model given: this is the demo: deit_digits, a 12-block DeiT that ships trained"),
        (
            "pareto --device null --supernet-sampling latency",
            "no --model given, and no latency table to go on from in ",
        ),
    ],
)
def test_the_first_line_says_that_the_demo_is_run(depthfinder: Command, words: str, said: str) -> None:
    folder_of(Path("images"), per_class=4)
    first = depthfinder(*words.split(), "--max-seconds", "0.1").stderr.splitlines()[0]
    assert first.startswith(said)
    images = "the images of images" if "--data-dir" in words else "images of handwritten digits"
    device = "null" if "null" in words else "ort-cpu"
    assert f"on {images}, for {device}; name yours with --model and --data-dir" in first


def test_a_network_that_is_named_is_no_demo(depthfinder: Command) -> None:
    words = "--model deit_digits --device null --budget-ms 5 --keep blocks.99 --dataset digits"
    said = depthfinder("run", *words.split()).stderr
    assert "demo" not in said
    assert "has no block 'blocks.99' to keep" in said


def test_the_budgets_say_whose_table_is_gone_on_from(depthfinder: Command) -> None:
    profiled = depthfinder("profile", "--model", "test_vit", "--device", "null", "--max-seconds", "0.1")
    assert profiled.returncode == 0, profiled.stderr
    gone_on = depthfinder("search", "--budget-ms", "null=1", "--data-dir", "nowhere")
    assert gone_on.stderr.startswith("no --model given: taking test_vit on null, from the measured table ")
    other = depthfinder("search", "--budget-ms", "ort-cpu=1", "--data-dir", "nowhere")
    assert other.stderr.startswith("no --model given, and no latency table to go on from in depthfinder-out")


def test_a_kit_and_a_modelled_table_are_had_without_the_device(depthfinder: Command, tmp_path: Path) -> None:
    kwargs = ("patch_size=8", "embed_dim=24", "depth=2", "num_heads=2", "num_classes=10")
    model = ["--model", "deit_tiny_patch16_224", "--img-size", "32"]
    model += [word for pair in kwargs for word in ("--model-kwargs", pair)]
    packed = depthfinder("profile", *model, "--device", "mi100", "--kit", "kit.zip")
    assert packed.returncode == 0, packed.stderr
    assert (tmp_path / "kit.zip").exists()
    assert "then: depthfinder profile --import results.json" in packed.stdout
    modelled = depthfinder("profile", *model, "--device", "mi100", "--modelled")
    assert modelled.returncode == 0, modelled.stderr
    assert "modelled" in modelled.stdout
    path = "depthfinder-out/profiles/mi100-operators-fp32/deit_tiny_patch16_224-b1-t1.json"
    assert f"profile: {path}" in modelled.stdout
    assert (tmp_path / path).with_suffix(".time.svg").exists()
    listed = json.loads(depthfinder("profiles", "list", "--json").stdout)
    (ours,) = [one for one in listed if one["path"] == path]
    assert (ours["device"], ours["origin"]) == ("mi100", "modelled")
    verified = depthfinder("profiles", "verify", path).stdout
    assert "whole; modelled, 9 rows, by its parts" in verified
    assert "off in the mean" in verified

    budget = f"{0.9 * ours['baseline_ms']:.6f}"
    words = ("--budget-ms", budget, "--dataset", "digits", "--n-trials", "2", "--supernet-epochs", "1")
    search = depthfinder("search", *words)
    assert search.returncode == 0, search.stderr
    assert "mi100 is not here: going by the modelled table" in search.stderr
    assert "by the table, not measured" in search.stdout
    named = depthfinder("search", *model, "--device", "a100", "--profile", path, *words)
    assert named.returncode == 1
    assert "was made in another setting (device: mi100 there, a100 here): profile again" in named.stderr
    named = depthfinder(
        "search", *model, "--device", "mi100", "--threads", "2", "--experiment", "b", "--profile", path, *words
    )
    assert "(threads: 1 there, 2 here)" in named.stderr
    run = depthfinder("run", *model, "--device", "mi100", *words, "--progressive-epochs", "1", "--experiment", "run")
    assert run.returncode == 0, run.stderr
    assert f"mi100 is not here: going by the modelled table {path}" in run.stderr
    assert "UNDECIDED" in run.stdout
    assert "table: Modelled " in re.sub(" +", " ", run.stdout)
    result = json.loads((tmp_path / "depthfinder-out/run/result.json").read_text())
    assert (result["measured_ratio"], result["pruned"]["latency"]) == (None, None)
    assert result["verdict"]["answer"] == "undecided"
    because = "by the table is within the budget; mi100 was not here: nothing was measured"
    assert result["verdict"]["reason"].endswith(because)
    assert result["pruned"]["predicted_ms"] <= float(budget)
    page = (tmp_path / "depthfinder-out/run/report.html").read_text()
    assert "Nothing was measured" in page
    assert "the predictor &#39;operators 3&#39; of AMD Instinct MI100" in page


def test_profile_without_a_model_takes_the_four_networks(depthfinder: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthfinder.cli.latency.FOUR_NETWORKS", ("test_resnet", "test_vit"))
    done = depthfinder("profile", "--device", "null", "--max-seconds", "0.1")
    assert done.returncode == 0, done.stderr
    assert [line.split("/")[-1] for line in re.findall(r"profile: (\S+)", done.stdout)] == [
        "test_resnet-b1-t1.json",
        "test_vit-b1-t1.json",
    ]
    shown = depthfinder("profiles", "show", "depthfinder-out/profiles/null-arithmetic-fp32/test_vit-b1-t1.json")
    assert "of peak" in shown.stdout
    diff = ("profiles", "diff", *["depthfinder-out/profiles/null-arithmetic-fp32/test_vit-b1-t1.json"] * 2)
    assert "they agree within 0.0% on the whole network" in depthfinder(*diff).stdout


def test_measure_takes_onnx_files_run_folders_and_plans_side_by_side(depthfinder: Command, tmp_path: Path) -> None:
    network = df.load_model("test_vit")
    df.export(network, tmp_path / "whole.onnx")
    (tmp_path / "plan.json").write_text(df.Plan("test_vit", {"blocks.0.attn": "drop"}).to_json())
    words = ("whole.onnx", "plan.json", "--seconds", "0.5", "--batch-size", "2")
    done = depthfinder("measure", *words, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["setting"]["device"], record["setting"]["batch_size"]) == ("ort-cpu", 2)
    whole, cut = record["networks"]
    assert whole["against_first"]["value"] == 1.0
    assert cut["against_first"]["low"] <= cut["against_first"]["value"] <= cut["against_first"]["high"]
    assert whole["latency_ms"] > 0
    assert "whole.onnx" in depthfinder("measure", *words).stdout
    refused = depthfinder("measure", "whole.onnx", "--device", "cpu")
    assert refused.returncode == 2
    assert "cpu runs no ONNX files" in refused.stderr


def test_devices_say_whether_they_are_here_and_why_not(depthfinder: Command) -> None:
    records = {one["device"]: one for one in json.loads(depthfinder("devices", "--json").stdout)}
    assert {"cpu", "ort-cpu", "cuda", "rocm", "mi100", "ort-cuda", "ort-migraphx", "null"} <= set(records)
    for here in ("cpu", "ort-cpu", "null"):
        assert records[here] == {"device": here, "here": True, "why_not": None}
    assert all(one["here"] or one["why_not"] for one in records.values())
    assert "ort-migraphx" in depthfinder("devices").stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_to_train_on_that_is_not_here_is_missed_before_any_work(depthfinder: Command, tmp_path: Path) -> None:
    done = depthfinder("run", "--device", "null", "--train-device", "cuda")
    assert done.returncode == 3
    assert "--train-device cuda: torch sees no GPU here" in done.stderr
    assert not (tmp_path / "depthfinder-out").exists()
