"""The predictor of operators: what it says of shapes it never saw, how sure it is, and what it refuses."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import nn

from latency.errors import PredictorError, RowsError
from latency.predictor.boosted import Boosted, Growth
from latency.predictor.described import device_in
from latency.predictor.judging import Judgement, five_folds, judged
from latency.predictor.kinds import ELEMENTWISE, KINDS
from latency.predictor.listen import Operator, operators_of
from latency.predictor.operators import OperatorPredictor
from latency.predictor.regressor import RatioRegressor
from latency.predictor.rows import OperatorRows, read_rows, write_rows
from latency.roofline import Peak
from networks import made

PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "op-latency" / "train.csv"
PEAK = Peak(20e9, 1e9)
FEW = Growth(rounds=60, leaves=12, fewest=3, rate=0.15)


def products(count: int, seed: int, largest: int = 12) -> np.ndarray:
    """Shapes of matrix products: (N, 4)."""
    random = np.random.default_rng(seed)
    return np.column_stack([np.ones(count), np.rint(2 ** random.uniform(4, largest, (count, 3)))])


def took_ms(dims: np.ndarray, seed: int = 0, noise: float = 0.02) -> np.ndarray:
    """A made-up device: an overhead, and tiles of 128 that are computed whole."""
    whole = dims.copy()
    whole[:, 1:3] = np.ceil(whole[:, 1:3] / 128) * 128
    floor = KINDS["linear"].roofline_ms(whole, PEAK)
    return (0.01 + 1.5 * floor) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(dims)))


def rows_of(dims: np.ndarray, latencies: np.ndarray, device: str = "AMD Instinct MI100") -> OperatorRows:
    names = KINDS["linear"].dims
    cells = [
        {
            "device": device,
            "op": "linear",
            "latency_ms": repr(float(ms)),
            **dict(zip(names, map(str, row), strict=True)),
        }
        for row, ms in zip(dims, latencies, strict=True)
    ]
    return OperatorRows(("device", "op", "latency_ms", *names), cells, "here")


@pytest.fixture(scope="module")
def fitted() -> RatioRegressor:
    dims = products(600, 0)
    return RatioRegressor("linear", PEAK, FEW).fit(dims, took_ms(dims))


def test_shapes_that_were_never_seen_are_predicted_and_bounded(fitted: RatioRegressor) -> None:
    dims = products(500, 1)
    latencies = took_ms(dims, 1)
    judgement = Judgement.of(fitted.predict_interval(dims), latencies)
    roofline = np.abs(KINDS["linear"].roofline_ms(dims, PEAK) / latencies - 1).mean()
    assert judgement.error < 0.12 < roofline
    assert 0.84 <= judgement.covered <= 0.97


def test_an_interval_holds_its_prediction(fitted: RatioRegressor) -> None:
    low, predicted, high = fitted.predict_interval(products(200, 2, largest=16))
    assert (low > 0).all()
    assert (low <= predicted).all()
    assert (predicted <= high).all()


def test_what_is_out_of_range_is_told_and_its_interval_is_wider(fitted: RatioRegressor) -> None:
    inside, outside = np.array([[1.0, 512, 512, 512]]), np.array([[1.0, 60000, 50000, 40000]])
    assert fitted.in_range(inside).tolist() == [True]
    assert fitted.in_range(outside).tolist() == [False]
    widths = []
    for dims in (np.array([[1.0, 4000, 4000, 4000]]), outside):
        low, predicted, high = fitted.predict_interval(dims)
        widths.append(float(((high - low) / predicted)[0]))
    assert widths[1] > widths[0]


def test_asked_beyond_the_median_the_interval_still_holds() -> None:
    dims = products(1200, 3)
    latencies = took_ms(dims, 3)
    work = KINDS["linear"].flops(dims)
    small = work <= np.median(work)
    regression = RatioRegressor("linear", PEAK, FEW).fit(dims[small], latencies[small])
    assert Judgement.of(regression.predict_interval(dims[~small]), latencies[~small]).covered >= 0.8


def test_it_keeps_the_conventions_of_scikit_learn(fitted: RatioRegressor) -> None:
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert not hasattr(again, "forest_")
    dims = products(80, 4)
    assert 0.5 < again.fit(dims, took_ms(dims)).score(dims, took_ms(dims)) <= 1
    with pytest.raises(ValueError, match="19 rows of linear are too few to fit: it takes 20"):
        again.fit(dims[:19], took_ms(dims[:19]))


def test_a_shape_is_never_on_both_sides() -> None:
    dims = np.repeat(products(60, 5), 3, axis=0)
    latencies = np.exp(np.random.default_rng(0).standard_normal(len(dims)))  # nothing but the shape's copies tells it
    predicted = RatioRegressor("linear", PEAK, FEW).fit(dims, latencies).folded_[1]
    shapes, numbers = np.unique(dims, axis=0, return_inverse=True)
    for shape in range(len(shapes)):
        assert len(set(predicted[numbers.ravel() == shape].round(12))) == 1


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 30), st.integers(1, 2))
def test_boosted_trees_are_scikit_learns(seed: int, fewest: int, features: int, times: int) -> None:
    random = np.random.default_rng(seed)
    examples = random.standard_normal((90, features)).round(random.integers(1, 4)).astype(np.float32)
    targets = random.standard_normal(90)
    boosted = Boosted.grown(examples, targets, Growth(10, 8, fewest, 0.3, times), seed)
    theirs = [
        HistGradientBoostingRegressor(
            max_iter=10, max_leaf_nodes=8, min_samples_leaf=fewest, learning_rate=0.3, l2_regularization=1.0,
            max_features=0.3, early_stopping=False, random_state=seed + number,
        ).fit(examples, targets)
        for number in range(times)
    ]  # fmt: skip
    asked = np.vstack([examples, random.standard_normal((200, features)).astype(np.float32)])
    # A leaf is rounded to the nearest of its steps: half of one for each tree.
    off = boosted.unit / 2 * 10 * times + 1e-9
    np.testing.assert_allclose(
        boosted(asked), np.mean([one.predict(asked) for one in theirs], axis=0), rtol=0, atol=off
    )
    read = Boosted.from_record(json.loads(json.dumps(boosted.to_record())))
    assert (read(asked) == boosted(asked)).all()


def packed(split: list[int], cut: list[int], counts: list[int], thresholds: list[float], values: int) -> dict[str, Any]:
    whole = np.array(counts, dtype=np.int64), np.array(thresholds, dtype=np.float32), np.ones(values, dtype=np.int16)
    return Boosted(np.array(split, dtype=np.uint8), np.array(cut, dtype=np.uint8), *whole, 1.0, 0.0).to_record()


STUMP = packed([0, 255, 255], [0], [1], [0.5], 2)


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        (packed([], [], [], [], 0), "not whole"),
        (packed([0], [0], [1], [0.5], 0), "not whole"),
        (packed([0, 255], [0], [1], [0.5], 1), "not whole"),
        (packed([255, 0], [0], [1], [0.5], 1), "not whole"),
        (packed([0, 255, 255], [1], [1], [0.5], 2), "not whole"),
        (packed([1, 255, 255], [0], [1], [0.5], 2), "not whole"),
        (packed([0, 255, 255], [0], [1], [np.nan], 2), "not whole"),
        (packed([0, 255, 255], [0], [2], [0.5], 2), "not whole"),
        (packed([255], [], [], [], 2), "not whole"),
        (STUMP | {"base": float("inf")}, "not whole"),
        (STUMP | {"split": "AAAA"}, "damaged"),
        (STUMP | {"split": STUMP["split"][:8]}, "cut short"),
        (STUMP | {"split": "?"}, "base64|Only"),
    ],
)
def test_trees_that_are_not_whole_are_refused(record: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Boosted.from_record(record)


def test_a_stump_goes_left_up_to_its_threshold() -> None:
    stump = Boosted.from_record(STUMP | {"value": packed([255], [], [], [], 2)["value"], "base": 3.0})
    assert stump(np.array([[0.5], [0.6]])).tolist() == [4.0, 4.0]
    assert Boosted.constant(7.0)(np.zeros((2, 1))).tolist() == [7.0, 7.0]


def test_what_unpacks_to_more_than_trees_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latency.predictor.boosted._MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        Boosted.from_record(packed([255] * 100_000, [], [], [], 100_000))


def test_trees_that_ask_about_what_an_operator_has_not_are_refused(fitted: RatioRegressor) -> None:
    record = fitted.to_record() | {"trees": packed([200, 255, 255], [0], [0] * 200 + [1], [0.5], 2)}
    with pytest.raises(ValueError, match="features that a linear does not have"):
        RatioRegressor.from_record("linear", record)


def test_a_predictor_read_elsewhere_says_the_same_without_scikit_learns_trees(tmp_path: Path) -> None:
    dims = products(120, 6)
    predictor = OperatorPredictor.fitted(rows_of(dims, took_ms(dims)), "mi100", growth=FEW)
    predictor.save(tmp_path / "p.json")
    asked = rows_of(products(300, 7, largest=15), np.ones(300))
    write_rows(tmp_path / "asked.csv", asked, {})
    here = predictor.predict(asked)
    code = (
        "import sys, pathlib, sklearn.ensemble\n"
        "def refuse(*_, **__): raise AssertionError('scikit-learn was asked')\n"
        "boosting = sklearn.ensemble.HistGradientBoostingRegressor\n"
        "boosting.predict = boosting.fit = refuse\n"
        "from latency.predictor.operators import OperatorPredictor\n"
        "from latency.predictor.rows import read_rows\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "found = OperatorPredictor.load(folder / 'p.json').predict(read_rows(folder / 'asked.csv'))\n"
        "for row in zip(found.low_ms, found.predicted_ms, found.high_ms, found.in_range):\n"
        "    print(*(float(x).hex() for x in row))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    expected = zip(here.low_ms, here.predicted_ms, here.high_ms, here.in_range, strict=True)
    assert done.stdout.splitlines() == [" ".join(float(x).hex() for x in row) for row in expected]


def test_what_a_predictor_was_not_fitted_on_it_does_not_predict() -> None:
    dims = products(60, 8)
    predictor = OperatorPredictor.fitted(rows_of(dims, took_ms(dims)), "mi100", growth=FEW)
    softmax = {"device": "AMD Instinct MI100", "op": "softmax", "b": "8", "h": "64"}
    other = {"device": "Tesla T4", "op": "linear", "b": "1", "m": "8", "n": "8", "k": "8"}
    nameless = {"op": "linear", "m": "128", "n": "128", "k": "128"}
    found = predictor.predict(OperatorRows(("device", "op"), [softmax, other, nameless], "here"))
    assert np.isnan(found.predicted_ms).tolist() == [True, True, False]
    assert found.in_range.tolist()[:2] == [False, False]
    with pytest.raises(PredictorError, match="predicts none of the rows of here"):
        judged(predictor, OperatorRows(("device", "op"), [softmax | {"latency_ms": "1"}], "here"))


def test_a_device_goes_by_its_name_its_title_or_what_the_rows_call_it() -> None:
    dims = products(3, 9)
    ours = rows_of(dims, took_ms(dims), "NVIDIA A100-PCIE-40GB")
    theirs = rows_of(dims, took_ms(dims), "Home-made")
    both = OperatorRows(ours.columns, [*ours.cells, *theirs.cells], "here")
    a100 = Peak(19.5e9, 1555e6, 108)
    assert device_in(both, "a100")[0] == ("NVIDIA A100-PCIE-40GB",)
    assert device_in(both, "a100")[1].flops_per_ms == a100.flops_per_ms
    assert device_in(both, "NVIDIA A100-PCIE-40GB") == device_in(both, "A100") == device_in(both, "a100")
    names, seen = device_in(both, "Home-made")
    assert names == ("Home-made",)
    assert seen.flops_per_ms == pytest.approx((KINDS["linear"].flops(dims) / took_ms(dims)).max())
    with pytest.raises(PredictorError, match="no timings of t4; it has those of Home-made, NVIDIA A100-PCIE-40GB"):
        device_in(both, "t4")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text[: len(text) // 2], "is not a whole predictor"),
        (
            lambda text: text.replace('"version": 2', '"version": 1'),
            "of version 1; .* reads version 2: fit it again",
        ),
        (lambda text: text.replace('"rounds": 60', '"rounds": 61'), "was altered after it was made"),
        (lambda text: "[]", "is not a predictor"),
        (lambda text: text.replace('"rounds": 60', '"rounds": NaN'), "NaN is no figure"),
        (lambda text: "", "is not a whole predictor"),
    ],
)
def test_a_damaged_predictor_is_refused(tmp_path: Path, change: object, complaint: str) -> None:
    dims = products(40, 10)
    path = tmp_path / "p.json"
    OperatorPredictor.fitted(rows_of(dims, took_ms(dims)), "mi100", growth=FEW).save(path)
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(PredictorError, match=complaint):
        OperatorPredictor.load(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no column op"),
        ("device,latency_ms\nx,1\n", "no column op"),
        ("op,m,n,k\n", "holds no row"),
        ("op,m,n,k\nlinear,1,2\n", "row 1 has not as many cells"),
        ("op,m,n,k\nlinear,1,2,3,4\n", "row 1 has not as many cells"),
        ("op,m,n,k,latency_ms\nnonsense,1,2,3,1\n", "row 1: no operator 'nonsense'; there are: add, bmm, conv, gelu"),
        ("op,m,n,k,latency_ms\nlinear,1,2,nan,1\n", "row 1: k of a linear is 'nan'"),
        ("op,m,n,k,latency_ms\nlinear,1,-2,3,1\n", "row 1: n of a linear is '-2'"),
        ("op,m,n,k,latency_ms\nlinear,1,2,,1\n", "row 1: k of a linear is ''"),
        ('op,m,n,k,latency_ms\nlinear,1,2,3,"0,5"\n', "row 1: latency_ms is '0,5', which is no latency"),
        ("op,m,n,k,latency_ms\nlinear,1,2,3,0\n", "row 1: latency_ms is '0', which is no latency"),
    ],
)
def test_rows_that_cannot_be_read_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)

    def read() -> None:
        rows = read_rows(path)
        _ = rows.by_kind, rows.latency_ms

    with pytest.raises(RowsError, match=complaint):
        read()


def test_rows_with_a_bom_and_crlf_come_back_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("﻿op,m,n,k,note\r\nlinear,1,2,3,=2+2\r\n".encode())
    rows = read_rows(tmp_path / "rows.csv")
    assert rows.by_kind["linear"][1].tolist() == [[1, 1, 2, 3]]
    write_rows(tmp_path / "out.csv", rows, {"predicted_ms": ["0.5"]})
    with (tmp_path / "out.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"op": "linear", "m": "1", "n": "2", "k": "3", "note": "=2+2", "predicted_ms": "0.5"}
        ]


def test_the_operators_of_a_module_are_told_with_their_dimensions() -> None:
    module = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 32), nn.GELU())
    assert operators_of(module, torch.zeros(2, 5, 8)) == (
        Operator("ln", (10, 8)),
        Operator("linear", (1, 10, 32, 8)),
        Operator("elementwise", (10, 32, 2, 1)),
    )
    depthwise = nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6)
    assert operators_of(depthwise, torch.zeros(2, 6, 9, 9)) == (Operator("conv", (2, 6, 6, 3, 9, 2, 1, 6)),)
    plain = np.array([operators_of(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8))[0].dims])
    assert KINDS["conv"].flops(plain).tolist() == [2 * 36 * 4 * 27]
    assert KINDS["conv"].traffic_bytes(plain).tolist() == [4 * (3 * 64 + 4 * 36 + 4 * 27)]


def test_attention_is_products_and_a_softmax() -> None:
    attention = made("deit", 0).blocks[0].attn  # type: ignore[index,union-attr]
    kinds = [operator.kind for operator in operators_of(attention, torch.zeros(1, 5, 24))]
    assert (kinds.count("linear"), kinds.count("bmm"), kinds.count("softmax")) == (2, 2, 1)


def test_work_is_what_the_textbook_says() -> None:
    product = np.array([[3.0, 4, 5, 6]])
    assert KINDS["linear"].flops(product) == KINDS["bmm"].flops(product) == 2 * 3 * 4 * 5 * 6
    assert KINDS["linear"].traffic_bytes(product) == 4 * (3 * 4 * 6 + 6 * 5 + 3 * 4 * 5)
    assert KINDS["bmm"].traffic_bytes(product) == 4 * 3 * (4 * 6 + 6 * 5 + 4 * 5)
    add = np.array([[2.0, 7, *ELEMENTWISE["add"]]])
    assert KINDS["elementwise"].traffic_bytes(add) == 4 * 3 * 14


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published timings are not beside this checkout")
def test_published_timings_are_predicted_across_folds() -> None:
    rows = read_rows(PUBLISHED)
    names, _ = device_in(rows, "mi100")
    kinds = {"softmax", "ln"}
    chosen = [row for row in rows.of(names).cells if row["op"] in kinds]
    found = five_folds(OperatorRows(rows.columns, chosen, rows.origin), "mi100")
    assert set(found) == kinds
    for judgement in found.values():
        assert judgement.error < 0.05
        assert 0.85 < judgement.covered < 0.95
