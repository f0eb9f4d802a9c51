"""The predictor as it is typed: fitted, asked, judged, and where it takes the place of a measurement."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import Command
from profiles.profile import Choices
from profiles.store import load_profile

DEVICE = "AMD Instinct MI100"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Timings of two kinds of operator on one device, and a few of another device."""
    random = np.random.default_rng(0)
    lines = ["device,op,torch,latency_ms,b,h,m,n,k"]
    for index in range(120):
        m, n, k = np.rint(2 ** random.uniform(6, 12, 3)).astype(int)
        device = DEVICE if index < 110 else "Tesla T4"
        lines.append(f"{device},linear,2.4.1,{0.02 + 2.5e-11 * 2 * m * n * k:.6f},1,,{m},{n},{k}")
    for _ in range(60):
        b, h = np.rint(2 ** random.uniform(4, 12, 2)).astype(int)
        lines.append(f"{DEVICE},softmax,2.4.1,{0.015 + 9e-9 * b * h:.6f},{b},{h},,,")
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_predictor_is_fitted_asked_and_judged(depthfinder: Command, tmp_path: Path, rows: Path) -> None:
    fitted = depthfinder("predictor", "fit", "--rows", "rows.csv", "--device", "mi100", "--out", "p.json")
    assert fitted.returncode == 0, fitted.stderr
    assert "predictor of mi100" in fitted.stdout
    assert "next: depthfinder predictor predict --predictor p.json" in fitted.stdout

    asked = depthfinder("predictor", "predict", "--predictor", "p.json", "--rows", "rows.csv", "--out", "out.csv")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout == "170 rows predicted, 170 of them in range: out.csv\n"
    assert "10 of 180 rows have no prediction: 10 are of another device than mi100" in asked.stderr
    with rows.open(newline="") as before, (tmp_path / "out.csv").open(newline="") as after:
        given, answered = list(csv.DictReader(before)), list(csv.DictReader(after))
    assert list(answered[0])[-4:] == ["predicted_ms", "low_ms", "high_ms", "in_range"]
    for row, answer in zip(given, answered, strict=True):
        assert {name: answer[name] for name in row} == row
        if row["device"] != DEVICE:
            assert (answer["predicted_ms"], answer["in_range"]) == ("", "false")
            continue
        low, said, high = (float(answer[name]) for name in ("low_ms", "predicted_ms", "high_ms"))
        assert 0 < low <= said <= high
        assert said == pytest.approx(float(row["latency_ms"]), rel=0.5)

    known = json.loads(
        depthfinder("predictor", "evaluate", "--predictor", "p.json", "--rows", "rows.csv", "--json").stdout
    )
    assert known["kinds"]["linear"]["rows"] == 110
    folded = json.loads(depthfinder("predictor", "evaluate", "--device", DEVICE, "--rows", "rows.csv", "--json").stdout)
    assert set(folded["kinds"]) == {"linear", "softmax"}
    # What was fitted on is known better than what was not.
    assert known["kinds"]["linear"]["error"] < folded["kinds"]["linear"]["error"] < 0.3
    assert (
        "predictions for mi100"
        in depthfinder("predictor", "evaluate", "--device", "mi100", "--rows", "rows.csv").stdout
    )


@pytest.mark.usefixtures("rows")
def test_rows_of_another_dtype_have_no_prediction_and_that_is_said(depthfinder: Command, tmp_path: Path) -> None:
    lines = ["device,op,dtype,latency_ms,b,c_in,c_out,size"]
    for index in range(40):
        c_in, c_out, dtype = 8 * (1 + index % 7), 8 * (1 + index % 5), ("fp32", "fp16")[index % 2]
        lines.append(f"MI100,conv,{dtype},{0.01 + 1e-6 * c_in * c_out * (1 + index):.6f},{1 + index},{c_in},{c_out},14")
    (tmp_path / "more.csv").write_text("\n".join(lines) + "\n")
    both = ("--rows", "rows.csv", "--rows", "more.csv", "--device", "mi100")
    fitted = depthfinder("predictor", "fit", *both, "--dtype", "fp16", "--out", "half.json", "--json")
    assert fitted.returncode == 0, fitted.stderr
    record = json.loads(fitted.stdout)
    assert (record["dtype"], {kind: judged["rows"] for kind, judged in record["kinds"].items()}) == (
        "fp16",
        {"conv": 20},
    )
    asked = depthfinder("predictor", "predict", "--predictor", "half.json", "--rows", "more.csv", "--out", "out.csv")
    assert asked.returncode == 0, asked.stderr
    assert "20 of 40 rows have no prediction: 20 are of another dtype than fp16" in asked.stderr
    nothing = depthfinder("predictor", "predict", "--predictor", "half.json", "--rows", "rows.csv", "--out", "none.csv")
    assert nothing.returncode == 1
    told = " ".join(nothing.stderr.split())
    assert "half.json predicts none of the 180 rows of rows.csv: 10 are of another device than mi100" in told
    assert "170 are of another dtype than fp16" in told
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.grid
def test_a_device_without_rows_is_predicted_from_others(depthfinder: Command, tmp_path: Path, rows: Path) -> None:
    words = ("predictor", "fit", "--rows", "rows.csv", "--device", "h100", "--out", "p.json", "--transfer")
    alone = depthfinder(*words)
    assert alone.returncode == 1
    assert "has timings of softmax on 1 other devices; a transfer takes two" in alone.stderr
    text = rows.read_text()
    rows.write_text(
        text + "".join(line.replace(DEVICE, "Tesla V100") for line in text.splitlines(True) if DEVICE in line)
    )
    done = depthfinder(*words)
    assert done.returncode == 0, done.stderr
    asked = depthfinder("predictor", "predict", "--predictor", "p.json", "--rows", "asked.csv", "--out", "out.csv")
    assert asked.returncode == 3
    (tmp_path / "asked.csv").write_text("op,m,n,k\nlinear,512,512,512\n")
    asked = depthfinder("predictor", "predict", "--predictor", "p.json", "--rows", "asked.csv", "--out", "out.csv")
    assert asked.stdout.startswith("1 rows predicted, 1 of them in range")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("fit --rows none.csv --device mi100 --out p.json", 3, "there is no none.csv"),
        ("fit --rows rows.csv --device a100 --out p.json", 1, "it has those of AMD Instinct MI100, Tesla T4"),
        ("fit --rows rows.csv --device t4 --out p.json", 1, "10 rows of linear are too few to fit: it takes 20"),
        ("fit --rows rows.csv --device ours --out p.json --transfer", 1, "ours is not described; there are: a100"),
        ("predict --predictor none.json --rows rows.csv --out o.csv", 3, "there is no predictor none.json"),
        ("predict --predictor rows.csv --rows rows.csv --out o.csv", 1, "rows.csv is not a whole predictor"),
        (
            "fit --rows rows.csv --device mi100 --dtype bf16 --out p.json",
            1,
            "no timings of mi100 in bf16; it has those in",
        ),
        ("fit --rows rows.csv --device t4 --dtype bf16 --out p.json", 1, "Tesla T4 has no published rate for bf16"),
        (
            "fit --rows rows.csv --device mi100 --dtype fp8 --out p.json",
            2,
            "'fp8' is not one of 'fp32', 'fp16', 'bf16'",
        ),
        ("evaluate --rows rows.csv --predictor p.json --dtype fp16", 2, "--dtype goes with --device"),
        ("evaluate --rows rows.csv", 2, "give --predictor to judge one that is fitted, or --device"),
        ("fit --rows rows.csv --device mi100", 2, "Missing option '--out'"),
    ],
)
@pytest.mark.usefixtures("rows")
def test_what_cannot_be_predicted_is_one_line_and_a_status(
    depthfinder: Command, tmp_path: Path, words: str, status: int, message: str
) -> None:
    done = depthfinder("predictor", *words.split())
    assert done.returncode == status
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "p.json").exists()
    assert not (tmp_path / "o.csv").exists()


SMALL = (
    "--model deit_tiny_patch16_224 --img-size 32 --model-kwargs patch_size=8 --model-kwargs embed_dim=24 "
    "--model-kwargs depth=2 --device null"
)


@pytest.fixture
def profiled(depthfinder: Command) -> None:
    """Tables of one network at batch 1 and 4, on the device of exact arithmetic."""
    for batch_size in ("1", "4"):
        done = depthfinder("profile", *SMALL.split(), "--max-seconds", "0.1", "--batch-size", batch_size)
        assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("profiled")
def test_a_search_at_a_size_that_was_not_measured_predicts_the_table(depthfinder: Command, tmp_path: Path) -> None:
    for index in range(40):
        path = tmp_path / "images" / ("dark", "light")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = np.random.default_rng(index).integers(0, 100, (32, 32, 3)) + 150 * (index % 2)
        Image.fromarray(shade.astype(np.uint8)).save(path)
    words = "--batch-size 2 --budget-ratio 0.8 --data-dir images --n-trials 4 --supernet-epochs 1 --experiment e"
    done = depthfinder("search", *SMALL.split(), *words.split())
    assert done.returncode == 0, done.stderr
    assert "not measured at this size: predicted from 2 tables of others" in done.stderr
    assert "90 % interval" in done.stderr
    folder = tmp_path / "depthfinder-out" / "e"
    table = load_profile(folder / "profile.json")
    assert (table.origin, table.setting.batch_size) == ("modelled", 2)
    assert table.is_predicted
    (uncut,) = table.anchors
    assert table.latency_ms(Choices({})) == pytest.approx(uncut.measured.latency_ms)
    finalists = json.loads((folder / "search.json").read_text())["finalists"]
    assert finalists[0]["measured"]["latency_ms"] <= 0.8 * uncut.measured.latency_ms
    # What was predicted is nobody's table: the next one is predicted from what was measured.
    assert len(list((tmp_path / "depthfinder-out" / "profiles").glob("*/*.json"))) == 2


@pytest.mark.usefixtures("profiled")
def test_active_profiling_measures_what_is_least_sure(depthfinder: Command, tmp_path: Path) -> None:
    words = ("--batch-size", "2", "--max-seconds", "0.1", "--active", "2")
    done = depthfinder("profile", *SMALL.split(), *words)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "depthfinder-out" / "profiles").glob("*/*-b2-t1.json")
    table = load_profile(path)
    origins = [row.origin for row in table.rows]
    assert (origins.count("measured"), origins.count("modelled")) == (2, len(origins) - 2)
    assert all((row.alone is not None) == (row.origin == "measured") for row in table.rows)
    assert table.latency_ms(Choices({})) == pytest.approx(table.baseline_ms)


def test_active_profiling_needs_something_to_predict_from(depthfinder: Command) -> None:
    done = depthfinder("profile", *SMALL.split(), "--active", "2")
    assert done.returncode == 1
    assert "nothing to predict null from: it takes tables of two networks, or of one at two sizes" in done.stderr
