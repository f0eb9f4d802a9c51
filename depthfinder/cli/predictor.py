"""The commands of the predictor: `fit` it to timings of operators, `predict` with it, and `evaluate` it."""

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from depthfinder.console import Watch, log_to
from depthfinder.pipeline.at_once import check_here
from latency.mode import Dtype

if TYPE_CHECKING:
    from latency.predictor.judging import Judgement
    from latency.predictor.operators import Predictions
    from latency.predictor.rows import OperatorRows

EPILOG_PREDICTOR: Final = "Example: depthfinder predictor fit --rows rows.csv --device mi100 --out predictor.json"

_RowsOption = Annotated[
    Path, typer.Option(help="Operators, one a row: op, its dimensions, and latency_ms where it is known (CSV).")
]
_DeviceOption = Annotated[
    str | None, typer.Option(help="Whose rows to take: a described device's name, or a device as the rows name it.")
]
_PredictorOption = Annotated[Path | None, typer.Option(help="A predictor's .json file, as `fit` wrote it.")]
_TablesOption = Annotated[
    list[Path],
    typer.Option("--rows", help="Operators, one a row: op, its dimensions, and latency_ms (CSV). May be given again."),
]
_DtypeOption = Annotated[Dtype, typer.Option(help="Whose rows to take; rows that do not say are of fp32.")]
_SeedOption = Annotated[int, typer.Option(help="Decides everything that is drawn at random.", min=0)]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


def fit_command(
    rows: _TablesOption,
    device: Annotated[
        str, typer.Option(help="Whose rows to take: a described device's name, or a device as the rows name it.")
    ],
    out: Annotated[Path, typer.Option(help="Where to write the predictor (.json).")],
    transfer: Annotated[
        bool,
        typer.Option("--transfer", help="Learn from other devices' rows: for one with few rows of its own, or none."),
    ] = False,
    dtype: _DtypeOption = "fp32",
    seed: _SeedOption = 0,
    as_json: _JsonOption = False,
) -> None:
    """Fits a predictor to timings of operators on one device in one dtype, and judges it on shapes that it was not
    fitted on.

    With --transfer it is judged by predicting other devices from the rest in the same way.
    """
    check_here(*rows)
    from depthfinder.report.tables import predictor_table, show
    from latency.predictor.operators import OperatorPredictor
    from latency.predictor.rows import read_tables

    log_to(None)
    watch = Watch()
    with watch.signals(), watch.stage("fit"):
        fit = OperatorPredictor.transferred if transfer else OperatorPredictor.fitted
        found = fit(read_tables(rows), device, dtype=dtype, seed=seed, progress=watch)
        found.save(out)
    judged = {kind: regressor.judged_ for kind, regressor in found.regressors.items()}
    if as_json:
        record = {"device": found.device, "dtype": found.dtype, "names": found.names, "predictor": str(out)}
        print(json.dumps(record | {"kinds": {k: dataclasses.asdict(j) for k, j in judged.items()}}, indent=1))
        return
    show(predictor_table(f"{found.device} in {found.dtype}", judged))
    print(f"predictor: {out}")
    print(f"next: depthfinder predictor predict --predictor {out} --rows FILE.csv --out predicted.csv")


def predict_command(
    predictor: Annotated[Path, typer.Option(help="A predictor's .json file, as `fit` wrote it.")],
    rows: _RowsOption,
    out: Annotated[Path, typer.Option(help="Where to write the rows with their predictions behind (.csv).")],
    as_json: _JsonOption = False,
) -> None:
    """Predicts what operators take, each with a 90 % interval and whether it lies in the range of what was fitted."""
    check_here(predictor, what="predictor ")
    check_here(rows)
    from latency.errors import PredictorError
    from latency.predictor.operators import OperatorPredictor
    from latency.predictor.rows import PREDICTED, read_rows, write_rows

    known = OperatorPredictor.load(predictor)
    asked = read_rows(rows)
    found = known.predict(asked)
    refused = known.refused(asked)
    if not _known(found):
        raise PredictorError(f"{predictor} predicts none of the {len(asked)} rows of {rows}: {_told(refused)}")
    write_rows(out, asked, dict(zip(PREDICTED, _cells(found), strict=True)))
    record = {
        "rows": len(asked),
        "predicted": _known(found),
        "in_range": int(found.in_range.sum()),
        "refused": refused,
        "out": str(out),
    }
    _say_refused(refused, len(asked))
    if as_json:
        print(json.dumps(record, indent=1))
        return
    print(f"{record['predicted']} rows predicted, {record['in_range']} of them in range: {out}")


def evaluate_command(
    rows: _TablesOption,
    device: _DeviceOption = None,
    predictor: _PredictorOption = None,
    dtype: Annotated[Dtype | None, typer.Option(help="With --device: whose rows to take; fp32 by default.")] = None,
    seed: _SeedOption = 0,
    as_json: _JsonOption = False,
) -> None:
    """Judges a predictor: a fitted one on rows that are timed, or with --device by five folds of the rows themselves,
    no shape on both sides."""
    log_to(None)
    if (device is None) == (predictor is None):
        raise typer.BadParameter("give --predictor to judge one that is fitted, or --device to judge by five folds")
    if dtype is not None and predictor is not None:
        raise typer.BadParameter("--dtype goes with --device: a predictor knows which dtype it is of")
    check_here(*rows)
    check_here(*(() if predictor is None else (predictor,)), what="predictor ")
    from depthfinder.report.tables import judgements_table, show
    from latency.predictor.rows import read_tables

    table = read_tables(rows)
    if predictor is not None:
        name, found = _judged(predictor, table)
    else:
        assert device is not None, "one of the two was given"
        name, found = device, _five_folds(table, device, dtype or "fp32", seed)
    if as_json:
        kinds = {kind: dataclasses.asdict(judgement) for kind, judgement in found.items()}
        print(json.dumps({"device": name, "kinds": kinds}, indent=1))
        return
    show(judgements_table(name, found))


def _judged(path: Path, table: "OperatorRows") -> "tuple[str, dict[str, Judgement]]":
    from latency.predictor.judging import judged
    from latency.predictor.operators import OperatorPredictor

    known = OperatorPredictor.load(path)
    found = judged(known, table)
    _say_refused(known.refused(table), len(table))
    return f"{known.device} in {known.dtype}", found


def _five_folds(table: "OperatorRows", device: str, dtype: str, seed: int) -> "dict[str, Judgement]":
    from latency.predictor.judging import five_folds

    watch = Watch()
    with watch.signals(), watch.stage("evaluate"):
        return five_folds(table, device, dtype=dtype, seed=seed, progress=watch)


def _say_refused(refused: Mapping[str, int], rows: int) -> None:
    if refused:
        print(f"{sum(refused.values())} of {rows} rows have no prediction: {_told(refused)}", file=sys.stderr)


def _told(refused: Mapping[str, int]) -> str:
    return "; ".join(f"{count} are {reason}" for reason, count in refused.items())


def _cells(found: "Predictions") -> list[list[str]]:
    figures: list[Any] = [found.predicted_ms, found.low_ms, found.high_ms]
    cells = [["" if value != value else f"{value:.6g}" for value in column.tolist()] for column in figures]
    return [*cells, ["true" if inside else "false" for inside in found.in_range.tolist()]]


def _known(found: "Predictions") -> int:
    return int((found.predicted_ms == found.predicted_ms).sum())
