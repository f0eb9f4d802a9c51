"""Convolutions in a predictor: what is counted, what errs alike, what is known of another dtype and another device."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency.errors import PredictorError, RowsError
from latency.predictor.boosted import Boosted, Growth
from latency.predictor.conformal import Bounds, ClassBounds
from latency.predictor.convolution import Convolutions, classes, impossible
from latency.predictor.convolution_transfer import KernelTimes
from latency.predictor.described import description_of, fits, peak_described
from latency.predictor.expected import Basis, Judged
from latency.predictor.kinds import KINDS
from latency.predictor.operators import OperatorPredictor
from latency.predictor.regressor import WIDEST, RatioRegressor
from latency.predictor.rows import OperatorRows
from latency.predictor.scaled import ScaledRegressor
from latency.predictor.transfer import Timed
from latency.roofline import BEYOND_BELIEF, Peak
from latency.taps import Axis
from profiles.descriptions import load_description

CONV = KINDS["conv"]
PEAK = Peak(20e9, 1e9, 100)
FEW = Growth(rounds=40, leaves=12, fewest=3, rate=0.2)


def shapes(count: int, seed: int) -> np.ndarray:
    """Convolutions, dense and depthwise, at three batches each: (3 * count, 8)."""
    random = np.random.default_rng(seed)
    c_in, c_out = (8 * random.integers(1, 40, count) for _ in range(2))
    kernel, size = random.choice([1, 3], count), random.integers(5, 60, count)
    groups = np.where(random.random(count) < 0.2, c_in, 1)
    c_out = np.where(groups > 1, c_in, c_out)
    one = np.column_stack([c_in, c_out, kernel, size, np.ones(count), kernel // 2, groups])
    return np.vstack([np.column_stack([np.full(count, batch), one]) for batch in (1, 8, 32)]).astype(float)


def took_ms(dims: np.ndarray, peak: Peak = PEAK, overhead_ms: float = 0.005, times: float = 1.0) -> np.ndarray:
    """A made-up device: a depthwise convolution runs at a third of what a dense one does."""
    slow = np.where(dims[:, 7] > 1, 6.0, 2.0) * times
    noise = np.exp(0.03 * np.random.default_rng(0).standard_normal(len(dims)))
    return (overhead_ms + slow * CONV.roofline_ms(dims, peak)) * noise


@pytest.fixture(scope="module")
def fitted() -> RatioRegressor:
    dims = shapes(150, 0)
    return RatioRegressor("conv", PEAK, FEW).fit(dims, took_ms(dims))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(1, 11), st.integers(1, 4), st.integers(0, 6))
def test_taps_are_those_that_the_study_counts(size: int, kernel: int, stride: int, padding: int) -> None:
    if kernel > size + 2 * padding:
        return
    known = Convolutions(np.array([[2, 6, 4, kernel, size, stride, padding, 2]], dtype=float))
    axis = Axis(int(known.positions[0]), size, kernel, stride, padding)
    assert (known.taps[0][0], known.taps[1][0]) == (axis.taps, axis.used)
    assert known.flops[0] == 2 * 2 * 4 * 3 * axis.taps**2


def test_a_3x3_on_one_pixel_is_a_1x1() -> None:
    tiny = np.array([[1, 64, 32, 3, 1, 1, 1, 1], [1, 64, 32, 1, 1, 1, 0, 1]], dtype=float)
    assert CONV.flops(tiny).tolist() == [2 * 64 * 32] * 2
    assert CONV.traffic_bytes(tiny)[0] == CONV.traffic_bytes(tiny)[1]


def test_what_errs_alike_has_a_class() -> None:
    dims = np.array([[1, 8, 8, 1, 9, 1, 0, 1], [1, 8, 8, 5, 9, 1, 2, 2], [1, 8, 8, 7, 9, 1, 3, 8]], dtype=float)
    assert classes(dims).tolist() == ["dense 1x1", "grouped 5x5", "depthwise 7x7 and wider"]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (
            {"kernel": "5", "size": "2", "padding": "0"},
            "row 1 is no conv: its kernel of 5 is larger than its image",
        ),
        ({"kernel": "3", "size": "9", "groups": "3"}, "row 1 is no conv: its 3 groups do not divide 8 and 8 channels"),
        (
            {"kernel": "3", "size": "9", "dtype": "int8"},
            "row 1: no dtype is called 'int8'; there are: fp32",
        ),
    ],
)
def test_convolutions_that_cannot_be_are_named(row: dict[str, str], complaint: str) -> None:
    rows = OperatorRows(("op",), [{"op": "conv", "c_in": "8", "c_out": "8"} | row], "here")
    with pytest.raises(RowsError, match=complaint):
        _ = rows.by_kind, rows.dtypes
    assert impossible(np.array([1, 8, 8, 3, 9, 1, 1, 1.0])) is None


def test_a_class_of_few_shapes_is_less_sure() -> None:
    random = np.random.default_rng(0)
    scores, owners = random.standard_normal(2000), np.arange(2000)
    names = np.where(owners < 1990, "many", "few")
    bounds = ClassBounds.fitted(scores, owners, names)
    many, few = bounds.of_class["many"], bounds.of_class["few"]
    assert (many.low, many.high) == pytest.approx((-1.645, 1.645), abs=0.12)
    assert few.shapes == 10
    assert few.high >= np.sqrt(19 / 10) * scores[1990:].max()
    assert few.low <= many.low
    assert few.high >= many.high
    low, high = bounds.at(np.array(["many", "never seen"]))
    assert (low[1], high[1]) == (min(few.low, many.low), max(few.high, many.high))
    # One shape at a hundred batches tells as much as one shape.
    assert Bounds.of(scores[:100], np.zeros(100)).high > 3 * Bounds.of(scores[:100], owners[:100]).high


def test_what_was_never_timed_is_out_of_range(fitted: RatioRegressor) -> None:
    asked = shapes(1, 3)[:1]
    wide = asked.copy()
    wide[0, 3:7] = [7, 30, 1, 3]
    assert not fitted.in_range(wide).any()
    low, _, high = fitted.predict_interval(wide)
    assert (high / low)[0] > np.divide(*reversed(fitted.predict_interval(asked)[::2]))[0]


def test_no_bound_is_beyond_belief_nor_out_of_reach(fitted: RatioRegressor) -> None:
    far = np.array([[4096, 20000, 20000, 11, 500, 1, 5, 1], [1, 1, 1, 1, 1, 1, 0, 1]], dtype=float)
    low, said, high = fitted.predict_interval(far)
    floor = CONV.roofline_ms(far, PEAK) / BEYOND_BELIEF
    assert (floor <= low).all()
    assert (low <= said).all()
    assert (high <= said * WIDEST * (1 + 1e-9)).all()


def test_rows_quicker_than_anything_could_be_are_left_out() -> None:
    dims = shapes(60, 1)
    times = took_ms(dims)
    times[::40] = CONV.roofline_ms(dims[::40], PEAK) / 100
    found = RatioRegressor("conv", PEAK, FEW).fit(dims, times)
    assert found.unbelievable_ == len(times[::40])
    assert found.judged_.rows == len(dims) - found.unbelievable_


def test_another_dtype_is_scaled_marked_and_less_sure(fitted: RatioRegressor) -> None:
    twice = Peak(2 * PEAK.flops_per_ms, 2 * PEAK.bytes_per_ms, PEAK.compute_units)
    judged = Judged(9, 0.1, 0.5, 0.9)
    scaled = ScaledRegressor(fitted, twice, -0.3, 0.6, judged, Basis("scaled from fp32", "", ""))
    dims = shapes(20, 4)
    low, said, high = scaled.predict_interval(dims)
    own_low, own, own_high = fitted.predict_interval(dims)
    assert (said < own).all()
    assert ((high / said) > np.maximum(own_high / own, np.exp(0.6)) - 1e-9).all()
    assert (low / said < own_low / own + 1e-9).all()
    assert not scaled.in_range(dims).any()
    read = ScaledRegressor.from_record("conv", scaled.to_record())
    assert (read.predict(dims) == scaled.predict(dims)).all()


def test_a_device_goes_by_all_its_names_and_a_predictor_by_its_dtype() -> None:
    dims = shapes(30, 5)
    cells = [
        dict(zip(CONV.dims, map(str, row), strict=True), op="conv", device="MI250X", dtype="fp16", latency_ms=str(ms))
        for row, ms in zip(dims, took_ms(dims), strict=True)
    ]
    rows = OperatorRows(tuple(cells[0]), cells, "here")
    predictor = OperatorPredictor.fitted(rows, "mi250x", dtype="fp16", growth=FEW)
    assert predictor.peak == peak_described(load_description("mi250x"), "fp16")
    names = ("AMD Instinct MI250X", "mi250x", "AMD Instinct MI250X/MI250", "AMD Instinct MI250X (one GCD)")
    asked = [*({"device": name} for name in names), {"dtype": "fp32"}, {"dtype": "bf16"}, {"device": "MI210"}]
    asked_rows = OperatorRows(rows.columns, [cells[0] | change for change in asked], "here")
    assert np.isnan(predictor.predict(asked_rows).predicted_ms).tolist() == [False] * 4 + [True] * 3
    assert predictor.refused(asked_rows) == {"of another device than mi250x": 1, "of another dtype than fp16": 2}
    with pytest.raises(PredictorError, match="no timings of mi250x in fp32; it has those in fp16"):
        OperatorPredictor.fitted(rows, "mi250x")
    mi100, mi250x = description_of("gfx908:sramecc+:xnack-"), load_description("mi250x")
    assert mi100 is not None
    assert mi100.name == "mi100"
    assert not fits(mi250x, "gfx90a:sramecc+:xnack-")  # an MI210 may be one too
    with pytest.raises(PredictorError, match="Tesla T4 has no published rate for bf16; take --dtype fp32 or fp16"):
        peak_described(load_description("t4"), "bf16")


def test_kernels_of_another_maker_are_a_multiple_without_the_overhead_of_its_timings() -> None:
    teachers = [
        Timed(peak, shapes(150, seed), took_ms(shapes(150, seed), peak, 0.0))
        for seed, peak in enumerate((PEAK, Peak(40e9, 2e9, 120), Peak(30e9, 1e9, 80)))
    ]
    dense = shapes(300, 9)
    dense = dense[(dense[:, 7] == 1) & (dense[:, 3] == 3)]
    peak = Peak(10e9, 0.8e9, 60)
    own = Timed(peak, dense, took_ms(dense, peak, 0.0, 0.7) + 0.2)
    known = KernelTimes(teachers, [own], growth=FEW)
    seen = known.seen(own)
    assert seen.overhead_ms == pytest.approx(0.2, rel=0.1)
    assert known.usual == seen.times == pytest.approx(0.7, rel=0.1)
    found = known.regressor(peak, seen.times, own, Basis("transferred", "", "", seen.overhead_ms))
    asked = shapes(60, 12)
    kernels = took_ms(asked, peak, 0.0, 0.7)
    assert np.abs(found.predict(asked) / kernels - 1).mean() < 0.15
    depthwise = asked[:, 7] > 1
    assert not found.in_range(asked)[depthwise].any()
    again = RatioRegressor.from_record("conv", found.to_record())
    assert (again.predict(asked) == found.predict(asked)).all()
    assert dataclasses.asdict(again.basis_)["overhead_ms"] == seen.overhead_ms
    with pytest.raises(PredictorError, match="taught by 3 devices' kernel times"):
        KernelTimes(teachers[:2], [own])


def test_trees_of_many_features_are_whole() -> None:
    dims = shapes(40, 6)
    grown = Boosted.grown(CONV.features(dims, PEAK), np.log(took_ms(dims)), FEW, 0)
    assert np.isfinite(grown(CONV.features(dims, PEAK))).all()
