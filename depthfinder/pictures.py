"""The pictures of a report, as SVG text that stands by itself."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from depthfinder.result import RunResult
from profiles.profile import Profile
from pruner.plan import Plan

COLOURS: Final = {
    "keep": "#1f5f8b",
    "merge": "#e39b2d",
    "separable": "#c9772b",
    "shrink": "#7a8f3c",
    "merge-act": "#a8562f",
    "drop": "#d9dde1",
}
PALE: Final = "#9aa5b1"


def pareto(search: Mapping[str, Any], budget_ms: float, chosen: Mapping[str, str]) -> str:
    """Supernet accuracy against predicted latency of every plan that was evaluated, with the front and the winner."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    points = [(plan["latency_ms"], 100 * plan["score"]) for plan in search["evaluated"]]
    axes.scatter(
        [x for x, _ in points], [y for _, y in points], s=16, color=PALE, label=f"{len(points)} plans evaluated"
    )
    front = _front(points)
    colour = COLOURS["keep"]
    axes.step([x for x, _ in front], [y for _, y in front], where="post", color=colour, label="best at its latency")
    winner = next(plan for plan in search["evaluated"] if plan["choices"] == dict(chosen))
    axes.scatter(
        [winner["latency_ms"]], [100 * winner["score"]], s=70, color=COLOURS["merge"], label="chosen", zorder=3
    )
    axes.axvline(budget_ms, color="#b3362b", linestyle="--", linewidth=1, label="budget")
    axes.set(xlabel="predicted latency, ms", ylabel="supernet accuracy on calibration images, %")
    axes.legend(fontsize=8)
    return svg(figure)


def latency_bars(result: RunResult, profile: Profile) -> str:
    """Where the time goes: measured medians with their spread, and the table's account of them, block by block."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    axes = figure.subplots()
    plans = {"baseline": Plan(model=result.model), "pruned": Plan(model=result.model, choices=result.plan)}
    for row, (name, network) in enumerate((("baseline", result.baseline), ("pruned", result.pruned))):
        measured = network.latency
        spread = [[measured.latency_ms - measured.p10_ms], [measured.p90_ms - measured.latency_ms]]
        axes.barh(2.4 * row, measured.latency_ms, color=COLOURS["keep"], height=0.8)
        axes.errorbar(measured.latency_ms, 2.4 * row, xerr=spread, color="black", capsize=3, linewidth=1)
        for left, width, colour in _account(profile, plans[name]):
            axes.barh(2.4 * row + 0.9, width, left=left, color=colour, height=0.8, edgecolor="white", linewidth=0.5)
    axes.axvline(result.budget_ms, color="#b3362b", linestyle="--", linewidth=1)
    axes.set_yticks([0, 0.9, 2.4, 3.3], ["baseline, measured", "by the table", "pruned, measured", "by the table"])
    axes.invert_yaxis()
    axes.set_xlabel("ms (bars: lower quartile; whiskers: 10th to 90th percentile; dashed: budget)")
    return svg(figure)


def block_map(blocks: Sequence[str], plan: Mapping[str, str]) -> str:
    """What became of every block, in the order in which the network runs through them."""
    places = {name: _row_and_column(name) for name in blocks}
    kinds = list(dict.fromkeys(row for row, _ in places.values()))
    columns = list(dict.fromkeys(column for _, column in places.values()))
    figure = Figure(figsize=(6.4, 0.6 + 0.42 * len(kinds)), layout="constrained")
    axes = figure.subplots()
    for name, (kind, column) in places.items():
        choice = plan.get(name, "keep")
        corner = (columns.index(column) + 0.06, kinds.index(kind) + 0.08)
        axes.add_patch(Rectangle(corner, 0.88, 0.84, facecolor=COLOURS[choice]))
        axes.text(
            corner[0] + 0.44, corner[1] + 0.42, choice, ha="center", va="center", fontsize=6.5, color=_ink(choice)
        )
    axes.set(xlim=(0, len(columns)), ylim=(len(kinds), 0))
    axes.set_yticks([row + 0.5 for row in range(len(kinds))], kinds)
    axes.set_xticks([column + 0.5 for column in range(len(columns))], columns)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return svg(figure)


def _row_and_column(name: str) -> tuple[str, str]:
    """`blocks.3.mlp` stands in the row of its kind, under 3; `layer2.0` in the row of its stage, under 0."""
    path, _, leaf = name.rpartition(".")
    return (path, leaf) if leaf.isdigit() else (leaf, path.rpartition(".")[2])


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    best: list[tuple[float, float]] = []
    for latency, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or score > best[-1][1]:
            best.append((latency, score))
    return best


def _account(profile: Profile, plan: Plan) -> list[tuple[float, float, str]]:
    """(left edge, width, colour) of all that stands outside the blocks together, then of every block."""
    bars, left = [(0.0, profile.fixed_ms, PALE)], profile.fixed_ms
    for name in profile.blocks:
        choice = plan.choice_of(name)
        width = profile.block_ms(name, choice)
        bars.append((left, width, COLOURS[choice]))
        left += width
    return bars


def _ink(choice: str) -> str:
    return "#55606b" if choice == "drop" else "white"


def svg(figure: Figure) -> str:
    """The figure as SVG text; the same figure is the same text."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "depthfinder", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
