"""The report: one self-contained page with the figures, the pictures and the table behind them."""

import json

import jinja2

from depthfinder.pictures import block_map, latency_bars, pareto
from depthfinder.result import RunResult
from depthfinder.run_folder import RunFolder
from profiles.files import write_whole
from profiles.store import load_profile


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
        finalists=found["finalists"],
        block_map=block_map(profile.blocks, result.plan),
        latency_bars=latency_bars(result, profile),
        pareto=pareto(found, result.budget_ms, result.plan),
    )
    write_whole(folder["report.html"], page)
