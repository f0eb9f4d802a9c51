"""How well latencies that were never measured are predicted: operators from published timings, and pieces of networks
on ort-cpu from the tables of other networks and other batches.

    DATA=../shared/data
    python benchmarks/predictor.py $DATA/op-latency/train.csv $DATA/conv-latency/train.csv                # hours
    python benchmarks/predictor.py $DATA/op-latency/train.csv $DATA/conv-latency/train.csv --only conv    # one part
    python benchmarks/predictor.py $DATA/op-latency/train.csv $DATA/conv-latency/train.csv --ship         # predictors

Parts: `folds` (what ships, by five folds), `beyond` (fitted below the median of operations, asked above), `transfer`
(one device left out), `pieces` (ort-cpu), `cost` (seconds and bytes), and of AMD's convolutions `conv`, `networks` and
`sign` (`predictor_study/convolutions.py`). Each writes results/predictor_PART.md. --ship writes profiles/predictors/
(`predictor_study/ship.py`), of all described devices or of those that are named behind it.

The timings are NeuSight's (Lee et al., ASPLOS 2025) and those of MIOpen's find-db. Nothing of them is kept but errors,
and with --ship the fits.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import GroupKFold

import depthfinder as df
from latency import hardware
from latency.devices import open_device
from latency.modelled import predicted_profile, timed_pieces
from latency.predictor.blocks import PiecePredictor, TimedPiece
from latency.predictor.described import device_in
from latency.predictor.judging import Judgement
from latency.predictor.kinds import KINDS
from latency.predictor.operators import OperatorPredictor, timed_on
from latency.predictor.published import PREDICTORS, published_predictor
from latency.predictor.regressor import OWN as OWN_TIMINGS
from latency.predictor.regressor import RatioRegressor
from latency.predictor.rows import OperatorRows, read_tables
from latency.predictor.transfer import Timed, Transfer
from latency.profiler import profile
from predictor_study import convolutions
from predictor_study.ship import ship
from profiles.descriptions import description_names
from profiles.profile import Choices, Profile
from profiles.store import load_profile, profile_path
from profiles.writing import save_profile
from shared.tables import markdown_table, percent, publish

DEVICES = ("mi100", "mi210", "a100", "v100", "t4", "p100", "p4")
BEYOND = LEFT_OUT = ("mi100",)  # of one device: an hour for all
OWN = (0, 10, 50, 100)
DRAWS = 3
MODELS = ("deit_tiny_patch16_224", "mobilenetv2_100", "resnet34", "convnext_tiny")
FITTED_BATCHES, ASKED_BATCHES = (1, 4), (2, 8)


CONVOLUTIONS = {
    "conv": convolutions.conv,
    "networks": convolutions.networks,
    "sign": convolutions.sign,
}
PARTS = ("folds", "beyond", "transfer", "pieces", "cost", *CONVOLUTIONS)


def folds(rows: OperatorRows) -> list[str]:
    """As the predictors that ship were judged when they were fitted, in fp32."""
    lines = []
    for device in DEVICES:
        timed, known = timed_on(rows, device), published_predictor(device)
        for kind, regressor in sorted(known.regressors.items()):
            if regressor.basis_.how == OWN_TIMINGS:
                own, found = timed[kind], regressor.judged_
                roofline = float(np.abs(KINDS[kind].roofline_ms(own.dims, own.peak) / own.took_ms - 1).mean())
                shares = (found.error, found.within_10_percent, found.covered, roofline)
                lines.append((device, kind, found.rows, *map(percent, shares)))
    head = ("device", "operator", "rows", "MAPE", "within 10 %", "in the 90 % interval", "roofline's MAPE")
    note = "Five folds; no shape is in two of them. The interval's bounds are those of the other folds."
    return [*markdown_table(head, lines), "", note]


def beyond(rows: OperatorRows) -> list[str]:
    lines = []
    for device in BEYOND:
        for kind, timed in sorted(timed_on(rows, device).items()):
            work = KINDS[kind].flops(timed.dims)
            small = work <= np.median(work)
            regression = RatioRegressor(kind, timed.peak).fit(timed.dims[small], timed.took_ms[small])
            asked = timed.dims[~small]
            found = Judgement.of(regression.predict_interval(asked), timed.took_ms[~small])
            outside = float((~regression.in_range(asked)).mean())
            shares = (found.error, found.within_10_percent, found.covered, found.width, outside)
            lines.append((device, kind, found.rows, *map(percent, shares)))
            print(*lines[-1], flush=True)
    head = (
        "device",
        "operator",
        "rows asked",
        "MAPE",
        "within 10 %",
        "in the 90 % interval",
        "its width",
        "told apart",
    )
    note = "Fitted on the rows up to the median of operations, asked about those above; told apart: `in_range` false."
    return [*markdown_table(head, lines), "", note]


def alone_ms(kind: str, own: Timed, dims: np.ndarray, seed: int) -> np.ndarray:
    """What a forest says that has the device's own measurements and nothing else."""
    described = KINDS[kind]
    targets = np.log(own.took_ms / described.roofline_ms(own.dims, own.peak))
    forest = ExtraTreesRegressor(100, max_features=1.0, random_state=seed)
    forest.fit(described.features(own.dims, own.peak), targets)
    return described.roofline_ms(dims, own.peak) * np.exp(forest.predict(described.features(dims, own.peak)))


def transfer(rows: OperatorRows) -> list[str]:
    timed = {device: timed_on(rows, device) for device in DEVICES}
    lines = []
    for device in LEFT_OUT:
        for kind, target in sorted(timed[device].items()):
            if kind == "conv":
                continue  # of two makers' devices, which were timed in two ways: `convolution_transfer.py`
            sources = [kinds[kind] for name, kinds in timed.items() if name != device and kind in kinds]
            cells = []
            # No shape that is asked about was seen, on any device: the shapes of one fold of five are kept apart.
            every = np.vstack([target.dims, *(source.dims for source in sources)])
            shapes = KINDS[kind].shapes(every)
            fitted, _ = next(GroupKFold(5, shuffle=True, random_state=0).split(every, groups=shapes))
            kept = np.isin(np.arange(len(every)), fitted)
            ours, theirs = kept[: len(target.dims)], kept[len(target.dims) :]
            thinned, at = [], 0
            for source in sources:
                part = theirs[at : at + len(source.dims)]
                thinned.append(Timed(source.peak, source.dims[part], source.took_ms[part]))
                at += len(source.dims)
            known = Transfer(kind, thinned)
            asked, took = target.dims[~ours], target.took_ms[~ours]
            for count in OWN:
                errors, alone = [], []
                for draw in range(DRAWS if count else 1):
                    chosen = np.random.default_rng(draw).choice(np.flatnonzero(ours), count, replace=False)
                    own = Timed(target.peak, target.dims[chosen], target.took_ms[chosen]) if count else None
                    errors.append(np.abs(known.predicted_ms(target.peak, own, asked) / took - 1).mean())
                    if own is not None:
                        alone.append(np.abs(alone_ms(kind, own, asked, draw) / took - 1).mean())
                cells.append(
                    percent(float(np.mean(errors))) + (f" ({percent(float(np.mean(alone)))})" if alone else "")
                )
            lines.append((device, kind, len(asked), *cells))
            print(*lines[-1], flush=True)
    head = ("left out", "operator", "rows asked", *(f"k = {count}" for count in OWN))
    note = (
        f"MAPE by the other devices and k measurements of its own, mean of {DRAWS} draws; in brackets a forest "
        "that has the k measurements and nothing else. The shapes that are asked about were seen on no device."
    )
    return [*markdown_table(head, lines), "", note]


def measured(folder: Path, seconds: float) -> list[Profile]:
    """The tables of ort-cpu, one thread; those that lie in the folder already are not measured again."""
    found = []
    for batch_size in (*FITTED_BATCHES, *ASKED_BATCHES):
        for model in MODELS:
            device = open_device("ort-cpu")
            path = profile_path(folder, model, device.setting(batch_size))
            if not path.exists():
                torch.manual_seed(0)
                limit = seconds + 4 * batch_size
                save_profile(profile(df.load_model(model), device, batch_size=batch_size, max_seconds=limit), path)
            found.append(load_profile(path))
            print(model, batch_size, f"{found[-1].baseline_ms:.2f} ms, {found[-1].conditions.noise}", flush=True)  # type: ignore[union-attr]
    return found


def pieces(folder: Path, seconds: float) -> list[str]:
    tables = measured(folder, seconds)
    of_table = {(t.model, t.setting.batch_size): timed_pieces(t, df.load_model(t.model)) for t in tables}
    lines = []
    for model in MODELS:
        others = [name for name in MODELS if name != model]
        unseen = [p for name in others for batch in FITTED_BATCHES for p in of_table[name, batch]]
        known = [p for name in MODELS for batch in FITTED_BATCHES for p in of_table[name, batch]]
        for title, fitted, batches in (
            ("another family", unseen, FITTED_BATCHES),
            ("other batches", known, ASKED_BATCHES),
            ("another family, other batches", unseen, ASKED_BATCHES),
        ):
            for batch in batches:
                lines.append((model, title, batch, *asked_of(tables, of_table, fitted, model, batch)))
                print(*lines[-1], flush=True)
    head = ("network", "asked about", "batch", "pieces", "within 10 %", "MAPE", "within 10 % of alone",
            "in the 90 % interval", "whole networks, mean error", "worst", "uncut")  # fmt: skip
    note = (
        "Fitted on the tables of batch 1 and 4: of the three other families, or of all four. Whole networks are those "
        "that were measured for the network's own table; their error is the sum of predicted pieces against them."
    )
    return [*markdown_table(head, lines), "", note, "", f"ort-cpu, one thread, {hardware.processor()}."]


def asked_of(
    tables: Sequence[Profile],
    of_table: dict[tuple[str, int], list[TimedPiece]],
    fitted: Sequence[TimedPiece],
    model: str,
    batch: int,
) -> tuple[object, ...]:
    judges = of_table[model, batch]
    low, said, high = PiecePredictor.fitted(fitted).bounds([piece.operators for piece in judges], batch)
    found = next(t for t in tables if (t.model, t.setting.batch_size) == (model, batch))
    took = np.array([row.in_context_ms for row in found.rows if row.in_context_ms > 0])
    alone = np.array([piece.in_context_ms for piece in judges])
    relative = np.abs(said / took - 1)
    relative_alone = np.abs(said / alone - 1)
    predicted = predicted_profile(df.load_model(model), found.setting, fitted)
    whole = [predicted.latency_ms(Choices(a.choices)) / a.measured.latency_ms - 1 for a in found.anchors]
    uncut = next(error for error, a in zip(whole, found.anchors, strict=True) if not a.choices)
    errors = (float(np.mean(np.abs(whole))), float(np.max(np.abs(whole))))
    covered = float(((low <= took) & (took <= high)).mean())
    shares = (float((relative <= 0.1).mean()), float(relative.mean()), float((relative_alone <= 0.1).mean()), covered)
    return (len(judges), *map(percent, (*shares, *errors)), f"{uncut:+.1%}")


def cost(rows: OperatorRows) -> list[str]:
    lines = []
    for device, dtype in (("mi100", "fp32"), ("mi100", "fp16"), ("t4", "fp32")):
        own = rows.of(device_in(rows, device, dtype)[0], dtype)
        repeats = -(-100_000 // len(own))
        asked = OperatorRows(own.columns, (list(own.cells) * repeats)[:100_000], own.origin)
        path = PREDICTORS / f"{device}-{dtype}.json"
        started = time.monotonic()
        known = OperatorPredictor.load(path)
        load_seconds = time.monotonic() - started
        _ = asked.by_kind
        started = time.monotonic()
        known.predict(asked)
        seconds = time.monotonic() - started
        lines.append((device, dtype, f"{path.stat().st_size / 1e6:.2f}", f"{load_seconds:.1f}", f"{seconds:.1f}"))
        print(*lines[-1], flush=True)
    head = ("device", "dtype", "file, MB", "load, s", "predict 100,000 rows, s")
    note = f"All kinds of operator; {hardware.processor()}, one thread of a busy machine."
    return [*markdown_table(head, lines), "", note]


def of_convolutions(part: Callable[[OperatorRows], convolutions.Table], rows: OperatorRows) -> list[str]:
    head, lines, note = part(rows)
    return [*markdown_table(head, lines), "", note]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=None)
    parser.add_argument("--ship", nargs="*", default=None, help="fit the predictors that come with the package")
    parser.add_argument("--output", type=Path, default=Path("predictor-profiles"), help="measured tables, or to be")
    parser.add_argument(
        "--table-seconds", type=float, default=60.0, help="of a measured table, and four for each image"
    )
    asked = parser.parse_args()
    rows = read_tables(asked.rows)
    if asked.ship is not None:
        ship(rows, asked.ship or description_names())
        return
    parts: dict[str, Callable[[], list[str]]] = {
        "folds": partial(folds, rows),
        "beyond": partial(beyond, rows),
        "transfer": partial(transfer, rows),
        "pieces": partial(pieces, asked.output, asked.table_seconds),
        "cost": partial(cost, rows),
        **{name: partial(of_convolutions, part, rows) for name, part in CONVOLUTIONS.items()},
    }
    for name, part in parts.items():
        if asked.only is None or name in asked.only:
            publish(f"predictor_{name}", part())
            print(flush=True)


if __name__ == "__main__":
    main()
