"""Tables from published figures: labelled as such, with wide and honest bounds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from depthfinder.folder.table_origin import origin_of
from latency.errors import PredictorError
from latency.mode import Mode
from latency.modelled import check_modelled, modelled_profile
from latency.predictor.described import BYTES, peak_described
from latency.predictor.kinds import KINDS
from latency.predictor.listen import operators_of
from latency.predictor.published import PREDICTORS, published_predictor
from networks import made
from profiles.descriptions import description_names, load_description
from profiles.errors import ProfileError
from profiles.profile import Profile
from profiles.store import load_profile, verified
from profiles.two_sums import Bound
from pruner.choices.plan import Plan


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
    for dtype in BYTES:
        try:
            peak = peak_described(load_description(device), dtype)
        except PredictorError:
            assert not (PREDICTORS / f"{device}-{dtype}.json").exists()
            continue
        assert (PREDICTORS / f"{device}-{dtype}.json").stat().st_size <= 500_000
        known = published_predictor(device, dtype)
        assert (known.device, known.dtype, known.peak) == (device, dtype, peak)
        assert set(known.regressors) == set(KINDS)
        product = np.array([[1.0, 197, 768, 192]])
        low, said, high = known.regressors["linear"].predict_interval(product)
        assert KINDS["linear"].roofline_ms(product, peak)[0] < said[0] < 1.0
        assert low[0] < said[0] < high[0]
        if dtype != "fp32":
            assert known.regressors["linear"].basis_.how == "scaled from fp32"
            assert not known.regressors["linear"].in_range(product).any()


def test_half_the_bytes_and_a_higher_peak_take_less_but_issuing_takes_as_long() -> None:
    model = made("convnext", 0)
    much = {dtype: modelled_profile(model, "mi100", Mode(dtype=dtype), batch_size=256) for dtype in ("fp32", "fp16")}
    single, half = (Bound.of(much[dtype]) for dtype in ("fp32", "fp16"))
    assert half.kernels_ms < single.kernels_ms
    assert half.host_ms == single.host_ms
    assert Bound.of(modelled_profile(model, "mi100", Mode())).host_ms == single.host_ms
    operators = sum(len(operators_of(block, torch.zeros(1, 8, 17, 16))) for block in model.stages[0].blocks)  # type: ignore[index,union-attr]
    assert single.host_ms > operators * 0.005


def test_a_modelled_table_says_what_it_is_bound_by_and_how_that_was_judged(tmp_path: Path) -> None:
    model = made("basic", 0)
    small = modelled_profile(model, "t4", Mode())
    bound = Bound.of(small)
    assert bound.by == "host"
    assert small.baseline_ms == bound.host_ms == max(bound.kernels_ms, bound.host_ms)
    low_ms, high_ms = small.interval_ms(Plan(small.model))
    assert low_ms < bound.host_ms < high_ms
    assert {one.of for one in small.judged} == {"kernels", "host", *(f"{kind} alone" for kind in KINDS)}
    assert all(0 < one.error < 0.5 and 0.5 < one.covered <= 1 and one.figures > 5 for one in small.judged)
    large = modelled_profile(model, "t4", Mode(), batch_size=600)
    assert Bound.of(large).by == "kernels"
    assert large.baseline_ms == Bound.of(large).kernels_ms
    verdict = verified(_saved(small, tmp_path / "small.json"))
    assert all(one.text in verdict for one in small.judged)
    assert all(f"{one.of} {one.error:.1%}" in origin_of(small) for one in small.judged)
    assert bound.text in origin_of(small)
    assert load_profile(tmp_path / "small.json") == small


def test_compiled_networks_issue_less_and_move_less() -> None:
    model = made("basic", 0)
    eager = Bound.of(modelled_profile(model, "t4", Mode(), batch_size=64))
    found = modelled_profile(model, "t4", Mode(compiled=True), batch_size=64)
    assert found.setting.compiled
    assert Bound.of(found).host_ms < 0.9 * eager.host_ms
    assert Bound.of(found).kernels_ms < eager.kernels_ms


def test_a_row_below_what_any_algorithm_takes_is_an_error_by_name() -> None:
    check_modelled(("block 8x7x7", "merge"), 0.3, 1.0)
    check_modelled(("block 8x7x7", "merge"), 0.0, None)
    with pytest.raises(ProfileError, match=r"'merge' of block 8x7x7 would take 0\.2000 ms, where .* allow 1\.0000"):
        check_modelled(("block 8x7x7", "merge"), 0.2, 1.0)


def _saved(profile: Profile, path: Path) -> Path:
    profile.save(path)
    return path


def test_what_is_not_published_is_not_modelled() -> None:
    with pytest.raises(ProfileError, match="'ort-cpu' is described; there are: a100"):
        modelled_profile(made("deit", 0), "ort-cpu", Mode())
    with pytest.raises(ProfileError, match="NVIDIA Tesla T4 has no published rate for bf16"):
        modelled_profile(made("deit", 0), "t4", Mode(dtype="bf16"))
