"""Tables from published figures: labelled as such, with wide and honest bounds."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from latency.mode import Mode
from latency.modelled import FLOAT_BYTES, Operator, modelled_profile, operator_model, operator_ms, operators_of
from latency.roofline import Peak, Work
from networks import made
from profiles.descriptions import description_names, load_description
from profiles.errors import ProfileError
from profiles.store import load_profile
from pruner.plan import Plan

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "op-latency" / "train.csv"


def test_the_operators_of_a_module_are_told_with_their_work() -> None:
    module = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 32), nn.GELU())
    norm, linear, gelu = operators_of(module, torch.zeros(2, 5, 8))
    assert (norm.kind, linear.kind, gelu.kind) == ("normalise", "matmul", "elementwise")
    assert linear.work.flops == 2 * 2 * 5 * 8 * 32
    assert gelu == Operator("elementwise", Work(0, FLOAT_BYTES * 2 * (2 * 5 * 32)))
    (conv,) = operators_of(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8))
    assert (conv.kind, conv.work.flops) == ("conv", 2 * 36 * 4 * 27)


def test_attention_is_products_and_a_softmax() -> None:
    attention = made("deit", 0).blocks[0].attn  # type: ignore[index,union-attr]
    kinds = [operator.kind for operator in operators_of(attention, torch.zeros(1, 5, 24))]
    assert kinds.count("matmul") == 4
    assert kinds.count("normalise") == 1


def test_a_modelled_table_says_so_in_every_row(tmp_path: Path) -> None:
    model = made("deit", 0)
    found = modelled_profile(model, "mi100", Mode(), batch_size=4)
    assert found.origin == "modelled"
    assert all(row.origin == "modelled" and row.alone is None for row in found.rows)
    assert all(row.low_ms < row.in_context_ms < row.high_ms for row in found.rows)
    assert all(row.floor_ms is not None and row.floor_ms < row.in_context_ms for row in found.rows)
    assert (found.setting.device, found.setting.hardware) == ("mi100", "AMD Instinct MI100")
    plan = Plan(found.model, {"blocks.0.mlp": "merge", "blocks.1.attn": "drop", "blocks.1.mlp": "merge"})
    low_ms, high_ms = found.interval_ms(plan)
    assert low_ms < found.latency_ms(plan) < high_ms
    assert found.latency_ms(plan) < found.baseline_ms
    found.save(tmp_path / "mi100.json")
    assert load_profile(tmp_path / "mi100.json") == found


def test_faster_devices_are_modelled_as_faster_on_much_work() -> None:
    model = made("convnext", 0)
    took = {
        device: modelled_profile(model, device, Mode(), batch_size=256).baseline_ms
        for device in ("t4", "v100", "mi300x")
    }
    assert took["t4"] > took["v100"] > took["mi300x"]


@pytest.mark.parametrize("device", description_names())
def test_every_described_device_can_be_modelled(device: str) -> None:
    description = load_description(device)
    for kind in ("matmul", "conv", "normalise", "elementwise"):
        model = operator_model(description, kind)
        assert 0 < model.low < 1 < model.high
        assert 0 < model.overhead_ms < 1


def test_what_is_not_published_is_not_modelled() -> None:
    with pytest.raises(ProfileError, match="'ort-cpu' is described; there are: a100"):
        modelled_profile(made("deit", 0), "ort-cpu", Mode())
    with pytest.raises(ProfileError, match="NVIDIA Tesla T4 has no published rate for bf16"):
        modelled_profile(made("deit", 0), "t4", Mode(dtype="bf16"))


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published timings are not beside this checkout")
def test_published_timings_lie_in_the_intervals() -> None:
    description = load_description("mi100")
    peak = Peak(46.1e9, 1228.8e6)
    model = operator_model(description, "elementwise")
    inside = []
    with PUBLISHED.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["device"] == "AMD Instinct MI100" and row["op"] == "add":
                said = operator_ms(model, Work(0, FLOAT_BYTES * 3 * int(row["b"]) * int(row["h"])), peak)
                inside.append(model.low * said <= float(row["latency_ms"]) <= model.high * said)
    assert np.mean(inside) > 0.8
