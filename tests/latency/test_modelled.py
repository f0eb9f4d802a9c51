"""Tables from published figures: labelled as such, with wide and honest bounds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from latency.mode import Mode
from latency.modelled import modelled_profile
from latency.predictor.kinds import KINDS
from latency.predictor.listen import operators_of
from latency.predictor.published import published_predictor
from networks import made
from profiles.descriptions import description_names
from profiles.errors import ProfileError
from profiles.store import load_profile
from pruner.plan import Plan


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
    much = np.array([[1.0, 8192, 4096, 4096]])
    devices = ("p4", "t4", "v100", "mi100", "mi300x")
    took = [published_predictor(device).regressors["linear"].predict(much)[0] for device in devices]
    assert took == sorted(took, reverse=True)


@pytest.mark.parametrize("device", description_names())
def test_every_described_device_comes_with_a_predictor_of_every_kind(device: str) -> None:
    known = published_predictor(device)
    assert known.device == device
    assert set(known.regressors) == set(KINDS)
    product = np.array([[1.0, 197, 768, 192]])
    low, said, high = known.regressors["linear"].predict_interval(product)
    assert KINDS["linear"].roofline_ms(product, known.peak)[0] < said[0] < 1.0
    assert low[0] < said[0] < high[0]


def test_half_the_bytes_and_a_higher_peak_take_less_but_launching_takes_as_long() -> None:
    model = made("convnext", 0)
    much = {dtype: modelled_profile(model, "mi100", Mode(dtype=dtype), batch_size=256) for dtype in ("fp32", "fp16")}
    assert much["fp16"].baseline_ms < much["fp32"].baseline_ms
    little = modelled_profile(model, "mi100", Mode(dtype="fp16")).baseline_ms
    operators = sum(len(operators_of(block, torch.zeros(1, 8, 17, 16))) for block in model.stages[0].blocks)  # type: ignore[index,union-attr]
    assert little > operators * 0.005


def test_what_is_not_published_is_not_modelled() -> None:
    with pytest.raises(ProfileError, match="'ort-cpu' is described; there are: a100"):
        modelled_profile(made("deit", 0), "ort-cpu", Mode())
    with pytest.raises(ProfileError, match="NVIDIA Tesla T4 has no published rate for bf16"):
        modelled_profile(made("deit", 0), "t4", Mode(dtype="bf16"))
