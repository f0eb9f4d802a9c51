"""Tables of networks at sizes at which they were not measured: from other sizes, other networks, other devices."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from latency.modelled import anchored, predicted_profile, timed_pieces
from latency.predictor.blocks import CLASSES, PiecePredictor, TimedPiece, class_of, terms
from latency.predictor.kinds import KINDS
from latency.predictor.listen import Operator, operators_of
from latency.predictor.transfer import Timed, Transfer
from latency.roofline import Peak
from networks import made
from profiles.errors import ProfileError
from profiles.measurement import Measurement
from profiles.profile import Choices, Profile, Setting
from pruner.choices.plan import Plan

SETTING = Setting("made up", "nobody's", "arithmetic 1", "fp32", 1, 1)
# What an operator, a GFLOP and a MB of each class take on the made-up device.
COSTS = np.array([
    [0.02, 0.03, 0.02, 0.02, 0.05, 0.03, 0.04, 0.03, 0.01],
    [900, 700, 800, 600, 300, 5, 5, 5, 5],
    [4, 5, 4, 4, 6, 8, 8, 8, 5],
], dtype=float)  # fmt: skip


def true_ms(operators: tuple[Operator, ...], batch_size: int) -> float:
    """A device of which the whole truth is a sum."""
    return float(terms(operators, batch_size)[:-3] @ COSTS.ravel())


def pieces_of(model: nn.Module, name: str, batch_size: int) -> list[TimedPiece]:
    found = timed_pieces(blank_table(model, name, batch_size), model)
    return [dataclasses.replace(p, in_context_ms=true_ms(p.operators, batch_size)) for p in found]


def blank_table(model: nn.Module, name: str, batch_size: int) -> Profile:
    """Every piece of a network, at a millisecond each."""
    filler = [TimedPiece((Operator("ln", (8.0 * n, 16)),), 1, n, f"{n % 2}", f"{n}") for n in range(1, 13)]
    table = predicted_profile(model, dataclasses.replace(SETTING, batch_size=batch_size), filler)
    rows = tuple(dataclasses.replace(row, in_context_ms=1.0) for row in table.rows)
    return dataclasses.replace(table, rows=rows, model=name)


@pytest.fixture(scope="module")
def measured() -> list[TimedPiece]:
    shapes = ("deit", "basic", "convnext", "inverted residual")
    return [piece for shape in shapes for batch in (1, 4) for piece in pieces_of(made(shape, 0), shape, batch)]


@pytest.mark.parametrize("batch_size", [2, 8])
def test_other_batches_are_predicted_from_those_that_were_measured(measured: list[TimedPiece], batch_size: int) -> None:
    model = made("deit", 0)
    found = predicted_profile(model, dataclasses.replace(SETTING, batch_size=batch_size), measured)
    truth = {p.operators: p.in_context_ms for p in pieces_of(model, "deit", batch_size)}
    assert found.origin == "modelled"
    assert {row.origin for row in found.rows} == {"modelled"}
    assert sorted(row.in_context_ms for row in found.rows) == pytest.approx(sorted(truth.values()), rel=0.2)
    plan = Plan(found.model, {"blocks.0.mlp": "merge", "blocks.1.attn": "drop"})
    low_ms, high_ms = found.interval_ms(plan)
    assert low_ms < found.latency_ms(plan) < high_ms


def test_the_interval_of_a_whole_network_holds_and_is_narrower_than_its_pieces(measured: list[TimedPiece]) -> None:
    model = made("deit", 0)
    found = predicted_profile(model, dataclasses.replace(SETTING, batch_size=2), measured)
    places = Counter(segment.signature for segment in found.segments)
    kept = [(row, p) for row, p in zip(found.rows, pieces_of(model, "deit", 2), strict=True) if row.choice == "keep"]
    true = sum(places[row.signature] * piece.in_context_ms for row, piece in kept)
    assert found.baseline_ms / (1 + found.relative_error) <= true <= found.baseline_ms * (1 + found.relative_error)
    assert 0 < found.relative_error < max(row.high_ms / row.in_context_ms - 1 for row, _ in kept)


def test_a_network_that_was_never_measured_is_predicted_from_others(measured: list[TimedPiece]) -> None:
    model = made("bottleneck, deep stem", 0)
    found = predicted_profile(model, dataclasses.replace(SETTING, batch_size=4), measured)
    true = sum(true_ms(operators_of(part, x), 4) for part, x in whole(model))
    assert found.baseline_ms == pytest.approx(true, rel=0.35)


def whole(model: nn.Module) -> list[tuple[nn.Module, torch.Tensor]]:
    """The network in one piece, and what it is fed."""
    return [(model, torch.zeros(4, 3, 33, 46))]


def test_what_is_unlike_all_that_was_measured_is_less_sure(measured: list[TimedPiece]) -> None:
    predictor = PiecePredictor.fitted(measured)
    known = measured[3].operators
    strange = (Operator("bmm", (64.0, 4096, 4096, 4096)),)
    low, said, high = predictor.bounds([known, strange, ()], 1)
    width = (high[:2] - low[:2]) / said[:2]
    assert width[1] > 2 * width[0]
    assert (low[2], said[2], high[2]) == (0, 0, 0)


def test_too_little_to_judge_by_is_said(measured: list[TimedPiece]) -> None:
    with pytest.raises(ProfileError, match="it takes tables of two networks, or of one at two sizes"):
        predicted_profile(made("deit", 0), SETTING, [p for p in measured if p.group == measured[0].group] * 3)


def test_a_table_scaled_to_the_uncut_network_predicts_it() -> None:
    table = blank_table(made("deit", 0), "deit", 1)
    uncut = Measurement(
        latency_ms=5.0, low_ms=4.9, high_ms=5.1, median_ms=5.0, p10_ms=4.9, p90_ms=5.2, iqr_ms=0.1, cpu_ms=5.0, n=9
    )
    found = anchored(table, uncut)
    assert found.latency_ms(Choices({})) == pytest.approx(5.0)
    assert found.baseline_ms == 5.0
    cut = Choices({"blocks.0.mlp": "drop"})
    assert found.latency_ms(cut) / 5.0 == pytest.approx(table.latency_ms(cut) / table.latency_ms(Choices({})))


def test_operators_are_told_apart_by_what_a_runtime_has_code_for() -> None:
    conv = {"kernel 1": (1, 8, 8, 1, 9, 1, 0, 1), "dense": (1, 8, 8, 3, 9, 1, 1, 1), "own": (1, 8, 8, 3, 9, 1, 1, 8)}
    assert [class_of(Operator("conv", tuple(map(float, dims)))) for dims in conv.values()] == [
        "pointwise",
        "dense",
        "depthwise",
    ]
    assert class_of(Operator("elementwise", (1, 1, 2, 1))) == "costly"
    assert {class_of(Operator(kind, (1.0,) * 8)) for kind in ("linear", "bmm", "softmax", "ln")} < set(CLASSES)


def made_up(peak: Peak, overhead_ms: float, share: float, seed: int) -> Timed:
    """A device that runs products at a share of its peak, short ones worse."""
    random = np.random.default_rng(seed)
    dims = np.column_stack([np.ones(400), np.rint(2 ** random.uniform(5, 12, (400, 3)))])
    slow = 1 + 64 / dims[:, 3]
    floor = KINDS["linear"].roofline_ms(dims, peak)
    return Timed(peak, dims, (overhead_ms + floor * slow / share) * np.exp(0.02 * random.standard_normal(400)))


def test_a_device_is_predicted_from_others_and_better_with_a_few_measurements_of_its_own() -> None:
    sources = [made_up(Peak(1e10 * n, 1e9 * n), 0.01 * n, 0.5 + 0.1 * n, n) for n in (1, 2, 3)]
    target = made_up(Peak(5e10, 2e9), 0.05, 0.4, 9)
    known = Transfer("linear", sources)
    asked, took = target.dims[50:], target.took_ms[50:]
    errors = []
    for count in (0, 10, 50):
        own = Timed(target.peak, target.dims[:count], target.took_ms[:count]) if count else None
        errors.append(np.abs(known.predicted_ms(target.peak, own, asked) / took - 1).mean())
    assert errors[2] < errors[1] < errors[0] < 0.6
    assert errors[2] < 0.1


@pytest.mark.grid
def test_a_transfer_can_be_stored_as_a_regression_with_the_errors_of_transfers() -> None:
    sources = [made_up(Peak(1e10 * n, 1e9 * n), 0.01 * n, 0.5 + 0.1 * n, n) for n in (1, 2, 3)]
    target = made_up(Peak(3e10, 2e9), 0.02, 0.6, 9)
    own = Timed(target.peak, target.dims[:20], target.took_ms[:20])
    regressor = Transfer("linear", sources).regressor(target.peak, own)
    low, _, high = regressor.predict_interval(target.dims[20:])
    assert ((low <= target.took_ms[20:]) & (target.took_ms[20:] <= high)).mean() > 0.7
    with pytest.raises(ValueError, match="timed on one other device alone"):
        Transfer("linear", sources[:1]).regressor(target.peak, None)
