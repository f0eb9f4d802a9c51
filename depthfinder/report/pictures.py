"""Draws the pictures of a report, as SVG."""

import html
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from depthfinder.folder.result import RunResult
from profiles.measurement import Measurement
from profiles.profile import Profile
from profiles.walk import rows_of, unthinned
from pruner.choices.choice import CHOICES, SHARES
from pruner.choices.plan import Plan
from pruner.training.curve import Epoch

COLOURS: Final = {name: choice.colour for name, choice in CHOICES.items()}
PALE: Final = "#9aa5b1"
_MAP_WIDTH: Final = 640
_MAP_ROW: Final = 40


def pareto(search: Mapping[str, Any], budget_ms: float, chosen: Mapping[str, str]) -> str:
    """Draws accuracy against predicted latency for every evaluated plan, with the front, the budget and the choice.

    Without labels, the accuracy is the agreement with the uncut network.

    Args:
        search: The content of `search.json`.
        budget_ms: The budget, in milliseconds.
        chosen: Block -> choice of the chosen plan.
    """
    figure, axes = _plans_and_front(search["evaluated"])
    winner = next(plan for plan in search["evaluated"] if plan["choices"] == dict(chosen))
    axes.scatter([winner["latency_ms"]], [_accuracy(winner)], s=70, color=COLOURS["merge"], label="chosen", zorder=3)
    axes.axvline(budget_ms, color="#b3362b", linestyle="--", linewidth=1, label="budget")
    axes.legend(fontsize=8)
    return svg(figure)


def front_picture(record: Mapping[str, Any]) -> str:
    """Draws the front among all evaluated plans, and the plans that were measured at their measured latencies.

    Args:
        record: The content of `front.json`.
    """
    figure, axes = _plans_and_front(record["evaluated"])
    measured = [(plan["measured"]["latency_ms"], _accuracy(plan)) for plan in record["front"] if plan["measured"]]
    if measured:
        colour = COLOURS["merge"]
        axes.scatter([x for x, _ in measured], [y for _, y in measured], color=colour, label="as measured", zorder=3)
    axes.legend(fontsize=8)
    return svg(figure)


def _plans_and_front(evaluated: Sequence[Mapping[str, Any]]) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    points = [(plan["latency_ms"], _accuracy(plan)) for plan in evaluated]
    axes.scatter(
        [x for x, _ in points], [y for _, y in points], s=16, color=PALE, label=f"{len(points)} plans evaluated"
    )
    front = _front(points)
    colour = COLOURS["keep"]
    axes.step([x for x, _ in front], [y for _, y in front], where="post", color=colour, label="best at its latency")
    by_labels = any(plan.get("accuracy") is not None for plan in evaluated)
    what = "supernet accuracy on calibration images, %" if by_labels else "same answers as the uncut network, %"
    axes.set(xlabel="predicted latency, ms", ylabel=what)
    return figure, axes


def _accuracy(plan: Mapping[str, Any]) -> float:
    """The accuracy in per cent; without labels the agreement with the uncut network; else 100 times the score."""
    counted = (plan.get(name) for name in ("accuracy", "agreement"))
    return 100 * float(next((share for share in counted if share is not None), plan["score"]))


def latency_bars(result: RunResult, profile: Profile) -> str:
    """Draws the latency of both networks, as measured and block by block by the table.

    Measured bars are lower quartiles, with the 10th to 90th percentile. Where the device was not here, the bars by the
    table stand alone.
    """
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    axes = figure.subplots()
    plans = {"baseline": Plan(model=result.model), "pruned": Plan(model=result.model, choices=result.plan)}
    for row, (name, network) in enumerate((("baseline", result.baseline), ("pruned", result.pruned))):
        if network.latency is not None:
            measured_bar(axes, 2.4 * row, network.latency)
        for left, width, colour in _account(profile, plans[name]):
            axes.barh(2.4 * row + 0.9, width, left=left, color=colour, height=0.8, edgecolor="white", linewidth=0.5)
    axes.axvline(result.budget_ms, color="#b3362b", linestyle="--", linewidth=1)
    if result.measured_ratio is None:
        axes.set_yticks([0.9, 3.3], ["baseline, by the table", "pruned, by the table"])
        axes.set_xlabel("ms (not measured; dashed: budget)")
    else:
        axes.set_yticks([0, 0.9, 2.4, 3.3], ["baseline, measured", "by the table", "pruned, measured", "by the table"])
        axes.set_xlabel("ms (bars: lower quartile; whiskers: 10th to 90th percentile; dashed: budget)")
    axes.invert_yaxis()
    return svg(figure)


def measured_bar(axes: Any, place: float, measured: Measurement) -> None:
    """Draws a measured latency into `axes`: the lower quartile as a bar, the 10th to 90th percentile as whiskers.

    Args:
        axes: The axes of a figure.
        place: The vertical position of the bar.
        measured: The latency.
    """
    spread = [[measured.latency_ms - measured.p10_ms], [measured.p90_ms - measured.latency_ms]]
    axes.barh(place, measured.latency_ms, color=COLOURS["keep"], height=0.8)
    axes.errorbar(measured.latency_ms, place, xerr=spread, color="black", capsize=3, linewidth=1)


def training_curve(epochs: Sequence[Epoch]) -> str:
    """Draws loss and accuracy on calibration images after each epoch of a training, and lambda where gates close."""
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    shares = axes.twinx()
    indices = [epoch.index for epoch in epochs]
    dots: dict[str, Any] = {"marker": "o", "markersize": 3}
    lines = axes.plot(indices, [epoch.loss for epoch in epochs], color=COLOURS["keep"], label="loss", **dots)
    accuracies = [epoch.accuracy for epoch in epochs]
    lines += shares.plot(indices, accuracies, color=COLOURS["merge"], label="accuracy", **dots)
    closing = [(epoch.index, epoch.lam) for epoch in epochs if epoch.lam is not None]
    if closing:
        places, lams = zip(*closing, strict=True)
        lines += shares.plot(places, lams, color=PALE, linestyle="--", label="lambda", **dots)
    axes.set(xlabel="epoch", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    shares.set(ylabel="accuracy, lambda" if closing else "accuracy", ylim=(-0.03, 1.03))
    figure.legend(handles=lines, fontsize=8, ncols=3, loc="outside upper right")
    return svg(figure)


def block_map(blocks: Sequence[str], plan: Mapping[str, str]) -> str:
    """Draws the choice for every block, in the order in which the blocks run. Narrower blocks are drawn as wide as they
    stay.

    The SVG is written directly, because matplotlib takes a tenth of a second and a review has a map for each plan.

    Args:
        blocks: The names of the blocks.
        plan: Block -> choice for every block that is cut.
    """
    places = {name: _row_and_column(name) for name in blocks}
    kinds = list(dict.fromkeys(row for row, _ in places.values()))
    columns = list(dict.fromkeys(column for _, column in places.values()))
    left = min(12 + 7 * max(len(kind) for kind in kinds), _MAP_WIDTH // 3)
    width, height = (_MAP_WIDTH - left) / len(columns), _MAP_ROW
    parts = []
    for name, (kind, column) in places.items():
        choice = plan.get(name, "keep")
        x, y = left + columns.index(column) * width, kinds.index(kind) * height
        for share, colour in _fills(choice):
            rectangle = f'x="{x + 0.06 * width:.1f}" y="{y + 0.08 * height:.1f}" width="{0.88 * share * width:.1f}"'
            parts.append(f'<rect {rectangle} height="{0.84 * height:.1f}" fill="{colour}"/>')
        parts.append(_text(choice, x + width / 2, y + height / 2, f'font-size="9" fill="{_ink(choice)}"'))
    for row, kind in enumerate(kinds):
        parts.append(_text(kind, left - 6, (row + 0.5) * height, 'font-size="13" text-anchor="end"'))
    for place, column in enumerate(columns):
        parts.append(_text(column, left + (place + 0.5) * width, len(kinds) * height + 12, 'font-size="13"'))
    size = f'width="{_MAP_WIDTH}" height="{len(kinds) * height + 26}"'
    view = f'viewBox="0 0 {_MAP_WIDTH} {len(kinds) * height + 26}"'
    style = 'font-family="DejaVu Sans, Verdana, sans-serif" text-anchor="middle" dominant-baseline="central"'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} {style}>\n{body}\n</svg>\n'


def _text(words: str, x: float, y: float, attributes: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{html.escape(words)}</text>'


def _row_and_column(name: str) -> tuple[str, str]:
    """(row, column) of a block: (mlp, 3) for `blocks.3.mlp`, (layer2, 0) for `layer2.0`."""
    path, _, leaf = name.rpartition(".")
    return (path, leaf) if leaf.isdigit() else (leaf, path.rpartition(".")[2])


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    best: list[tuple[float, float]] = []
    for latency, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or score > best[-1][1]:
            best.append((latency, score))
    return best


def _account(profile: Profile, plan: Plan) -> list[tuple[float, float, str]]:
    """(left edge, width, colour) of all that is outside the blocks together, then of every block that is left."""
    rows = dict(rows_of(profile.segments, plan, profile.vanishing, profile.thinning))
    widths = {name: profile.sums[0].block_ms(name, row) for name, row in rows.items()}
    left = math.fsum(width for name, width in widths.items() if name not in profile.blocks)
    bars = [(0.0, left, PALE)]
    for name in profile.blocks:
        if name in rows:
            bars.append((left, widths[name], COLOURS[unthinned(rows[name])]))
            left += widths[name]
    return bars


def _fills(choice: str) -> list[tuple[float, str]]:
    """(share of the width, colour), one over the other: the lost part of a block's width shows behind it."""
    fills = [(SHARES.get(choice, 1.0), COLOURS[choice])]
    return [(1.0, COLOURS["drop"]), *fills] if choice in SHARES else fills


def _ink(choice: str) -> str:
    return "#22303c" if choice == "drop" or choice in SHARES else "white"


def svg(figure: Figure) -> str:
    """Returns the figure as SVG text; equal figures give equal texts."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "depthfinder", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
