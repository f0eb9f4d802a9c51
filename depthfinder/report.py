"""The report: one self-contained page with the figures, the pictures and the table behind them."""

import json
from typing import Final

import jinja2

from depthfinder.curves import read_csv
from depthfinder.pictures import block_map, latency_bars, pareto, training_curve
from depthfinder.result import RunResult
from depthfinder.run_folder import RunFolder
from depthfinder.table_origin import origin_of
from profiles.files import write_whole
from profiles.store import load_profile

_TRAININGS: Final = {
    "finetune": "The uncut network on these images",
    "supernet": "The weight-sharing network",
    "progressive": "The plan's network",
}


def write_report(folder: RunFolder) -> None:
    """Writes `report.html` from what the run's folder holds; whatever stands in names is escaped."""
    result = RunResult.load(folder["result.json"])
    profile = load_profile(folder["profile.json"])
    found = json.loads(folder["search.json"].read_text(encoding="utf-8"))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("depthfinder"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("report.html.jinja").render(
        result=result,
        seconds=folder.seconds(),
        profile=profile,
        table_origin=origin_of(profile),
        finalists=found["finalists"],
        passed_over=found["passed_over"],
        block_map=block_map(profile.blocks, result.plan),
        latency_bars=latency_bars(result, profile),
        pareto=pareto(found, result.budget_ms, result.plan),
        curves=_curves(folder),
    )
    write_whole(folder["report.html"], page)


def _curves(folder: RunFolder) -> dict[str, str]:
    """Title -> picture of every training that left its epochs in the folder."""
    written = {title: folder[f"{name}.csv"] for name, title in _TRAININGS.items()}
    return {
        title: training_curve(read_csv(path.read_text(encoding="utf-8")))
        for title, path in written.items()
        if path.exists()
    }
