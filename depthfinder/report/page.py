"""Writes the report: one self-contained page with the figures, the pictures and the latency table behind them."""

import json
from typing import Final

import jinja2

from depthfinder.folder.curve_file import read_csv
from depthfinder.folder.mask_result import MaskResult, is_of_masks
from depthfinder.folder.result import RunResult
from depthfinder.folder.run_folder import RunFolder
from depthfinder.folder.table_origin import origin_of
from depthfinder.report.mask_pictures import measured_side_by_side, share_by_layer
from depthfinder.report.pictures import block_map, latency_bars, pareto, training_curve
from profiles.files import write_whole
from profiles.store import load_profile

_TRAININGS: Final = {
    "finetune": "The uncut network on these images",
    "supernet": "The weight-sharing network",
    "progressive": "The plan's network",
    "masks": "The search for the masks, and the training under them",
}


def write_report(folder: RunFolder) -> None:
    """Writes `report.html` from what a folder of `run` or `sparsify` holds. All texts in it are escaped."""
    page = _page_of_masks(folder) if is_of_masks(folder["result.json"]) else _page_of_run(folder)
    write_whole(folder["report.html"], page)


def _page_of_run(folder: RunFolder) -> str:
    result = RunResult.load(folder["result.json"])
    profile = load_profile(folder["profile.json"])
    found = json.loads(folder["search.json"].read_text(encoding="utf-8"))
    return _template("report.html.jinja").render(
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


def _page_of_masks(folder: RunFolder) -> str:
    result = MaskResult.load(folder["result.json"])
    return _template("sparsify.html.jinja").render(
        result=result,
        share_by_layer=share_by_layer(result.layers),
        latency=None if result.removal is None else measured_side_by_side(result.removal),
        curves=_curves(folder),
    )


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("depthfinder"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(name)


def _curves(folder: RunFolder) -> dict[str, str]:
    """Title -> picture, as SVG, for every training that left its epochs in the folder."""
    written = {title: folder[f"{name}.csv"] for name, title in _TRAININGS.items()}
    return {
        title: training_curve(read_csv(path.read_text(encoding="utf-8")))
        for title, path in written.items()
        if path.exists()
    }
