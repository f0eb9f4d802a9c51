"""How well convolutions that were never timed are predicted on AMD's devices; parts of `benchmarks/predictor.py`.

`conv`: by shapes held back over all batches, as the predictors that ship were judged. `networks`: by shapes of whole
networks held back. `sign`: by which of two ways of doing the same is the quicker, both held back.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from latency.predictor.boosted import Boosted
from latency.predictor.expected import Expected
from latency.predictor.kinds import KINDS
from latency.predictor.listen import operators_of
from latency.predictor.operators import timed_on
from latency.predictor.published import published_predictor
from latency.predictor.regressor import LARGE, RatioRegressor
from latency.predictor.rows import OperatorRows
from latency.predictor.transfer import Timed
from pruner._timm import create_model
from shared.tables import percent

AMD = ("mi100", "mi210", "mi250x", "mi300x")
DTYPES = ("fp32", "fp16", "bf16")
"""MI300X has no timings in bf16."""
BATCHES = (1, 32, 128)
CONV = KINDS["conv"]

NETWORKS = {"densenet121": 224, "vgg16": 224, "inception_v3": 299, "resnext50_32x4d": 224, "wide_resnet50_2": 224}
"""Of which many convolutions are in the rows, and the side of their images."""

Line = Sequence[object]
Table = tuple[Sequence[str], list[Line], str]
"""Head, lines and note."""
Shape = tuple[float, ...]
Pair = tuple[str, tuple[Shape, ...], Shape]
"""What kind of block it is, its convolutions, and the one in place of them."""


def conv(_: OperatorRows) -> Table:
    """As the predictors that ship were judged when they were fitted: five folds, no shape in two of them."""
    lines: list[Line] = []
    for device in AMD:
        for dtype in DTYPES if device != "mi300x" else DTYPES[:2]:
            known = published_predictor(device, dtype).regressors["conv"]
            assert isinstance(known, RatioRegressor), "what was timed is not scaled"
            for name, found in {"all": known.judged_, **known.judged_of_class_}.items():
                shapes = sum(b.shapes for n, b in known.bounds_.of_class.items() if name in ("all", n))
                shares = (found.error, found.within_10_percent, found.covered)
                lines.append((device, dtype, name, found.rows, shapes, *map(percent, shares)))
            left_out = f"; {known.unbelievable_} rows left out" if known.unbelievable_ else ""
            print(device, dtype, known.judged_, left_out, flush=True)
    head = ("device", "dtype", "convolutions", "rows", "shapes", "MAPE", "within 10 %", "in the 90 % interval")
    note = (
        f"{known.basis_.judged_by.capitalize()}: all batches of a shape are held back together. The interval's bounds "
        "are those of the other folds. Repeated tunings of one problem differ by 1.7 % in the median and 7.3 % in the "
        "ninth decile, and a tuner does not always find the same solver at neighbouring batches."
    )
    return head, lines, note


def shapes_of(network: str, size: int) -> Counter[tuple[float, ...]]:
    """The convolutions of a network, without the batch, and how often each is in it."""
    heard = operators_of(create_model(network, pretrained=False), torch.zeros(1, 3, size, size))
    return Counter(tuple(map(float, operator.dims[1:])) for operator in heard if operator.kind == "conv")


def said_without(timed: Timed, gone: Iterable[Shape]) -> dict[Shape, tuple[float, float]]:
    """Of the rows of these shapes, at every batch, what trees that saw none of them say and what they took; trees as
    large as a predictor's, without what it does for its interval."""
    asked = set(gone)
    judged = np.array([tuple(row[1:]) in asked for row in timed.dims.tolist()])
    floor_ms = CONV.roofline_ms(timed.dims, timed.peak)
    expected = Expected.fitted(floor_ms[~judged], timed.took_ms[~judged], CONV.least)
    targets = np.log(timed.took_ms / expected(floor_ms))
    examples = CONV.features(timed.dims, timed.peak)
    said = expected(floor_ms[judged]) * np.exp(
        Boosted.grown(examples[~judged], targets[~judged], LARGE, 0)(examples[judged])
    )
    figures = zip(said.tolist(), timed.took_ms[judged].tolist(), strict=True)
    return dict(zip(map(tuple, timed.dims[judged].tolist()), figures, strict=True))


def networks(rows: OperatorRows) -> Table:
    """Shapes of whole networks, all left out together."""
    counts = {network: shapes_of(network, size) for network, size in NETWORKS.items()}
    lines: list[Line] = []
    for device in AMD[:3]:
        for dtype in DTYPES:
            said = said_without(timed_on(rows, device, dtype)["conv"], set().union(*counts.values()))
            for network, shapes in counts.items():
                own = np.array([figures for row, figures in said.items() if row[1:] in shapes])
                error = float(np.abs(own[:, 0] / own[:, 1] - 1).mean())
                cells: list[str] = []
                for batch in BATCHES:
                    there = [
                        (count, *said[(batch, *shape)]) for shape, count in shapes.items() if (batch, *shape) in said
                    ]
                    of_sum = sum(c * p for c, p, _ in there) / sum(c * t for c, _, t in there) - 1
                    cells.append(f"{of_sum:+.1%} ({sum(c for c, *_ in there)} of {sum(shapes.values())})")
                lines.append((device, dtype, network, len(own), percent(error), *cells))
                print(*lines[-1], flush=True)
    head = ("device", "dtype", "network", "rows", "MAPE", *(f"sum at batch {batch}" for batch in BATCHES))
    note = (
        "All shapes of all these networks were left out together, at every batch. The sums are over those of a "
        "network's convolutions that were timed; in brackets how many."
    )
    return head, lines, note


def pairs_in(timed: Timed) -> list[Pair]:
    """What a block does and what it merges into, where all of it was timed: 1x1, 3x3, 1x1 (dense or depthwise) and one
    dense 3x3; two 3x3 and one 5x5; a depthwise and a 1x1 and one dense convolution of its size."""
    there = {tuple(row) for row in timed.dims.tolist()}
    widths: dict[Shape, set[float]] = {}
    for b, c_in, c_out, kernel, size, *_ in there:
        if kernel == 1:
            widths.setdefault((b, c_in, size), set()).add(c_out)
    found: list[Pair] = []
    for merged in sorted(there):
        b, c_in, c_out, kernel, size, stride, padding, groups = merged
        if groups != 1 or stride != 1 or padding != (kernel - 1) / 2 or kernel < 3:
            continue
        last = (b, c_in, c_out, 1.0, size, 1.0, 0.0, 1.0)
        apart = [("depthwise, 1x1", ((b, c_in, c_in, kernel, size, 1.0, padding, c_in), last))]
        if kernel == 5:
            twice = [(b, c_in, w, 3.0, size, 1.0, 1.0, 1.0) for w in (c_in, c_out)]
            apart += [("3x3, 3x3", (one, (b, one[2], c_out, 3.0, size, 1.0, 1.0, 1.0))) for one in twice]
        for wide in widths.get((b, c_in, size), set()) if kernel == 3 else ():
            ends = ((b, c_in, wide, 1.0, size, 1.0, 0.0, 1.0), (b, wide, c_out, 1.0, size, 1.0, 0.0, 1.0))
            for name, inner in (("1x1, depthwise, 1x1", wide), ("1x1, 3x3, 1x1", 1.0)):
                apart.append((name, (ends[0], (b, wide, wide, 3.0, size, 1.0, 1.0, inner), ends[1])))
        found += [(name, parts, merged) for name, parts in dict(apart).items() if set(parts) <= there]
    return found


def sign(rows: OperatorRows) -> Table:
    """Which of a block's convolutions and its merged form is the quicker, the shapes of all pairs left out together."""
    lines: list[Line] = []
    for device in AMD[:3]:
        for dtype in DTYPES:
            timed = timed_on(rows, device, dtype)["conv"]
            pairs = pairs_in(timed)
            said = said_without(timed, {row[1:] for _, parts, merged in pairs for row in (*parts, merged)})
            right: dict[str, list[bool]] = {"all": []}
            for name, parts, merged in pairs:
                predicted, took = (sum(said[part][i] for part in parts) / said[merged][i] for i in (0, 1))
                if abs(np.log(took)) > np.log(1.1):
                    for key in ("all", name):
                        right.setdefault(key, []).append((predicted > 1) == (took > 1))
            for name, answers in right.items():
                if not answers:
                    continue
                lines.append((device, dtype, name, len(answers), percent(float(np.mean(answers)))))
                print(*lines[-1], flush=True)
    head = ("device", "dtype", "block", "pairs more than 10 % apart", "predicted winner is the measured one")
    note = (
        "Pairs of a block's convolutions and one that does the same, of which all were timed at one batch; the shapes "
        "of all pairs were left out together, at every batch."
    )
    return head, lines, note
