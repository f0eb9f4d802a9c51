"""Draws the pictures of a latency table, as SVG: where the time goes, and how well the table predicts."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.figure import Figure

from depthfinder.report.pictures import COLOURS, PALE, svg
from profiles.profile import Profile
from profiles.walk import KEPT

_MOST_PARTS: Final = 8
_SHADES: Final = ("#12405f", "#1f5f8b", "#3d86b5", "#6fa9cf", "#a3cae3", "#c9772b", "#e39b2d", "#f0c27b", "#9aa5b1")


def where_the_time_goes(profile: Profile) -> str:
    """Draws the uncut network as one bar, stacked by kind of block.

    Under it is the time that the device's peak rates allow for each kind (roofline), where they are known. Of a table
    with two sums, kernels and host, the larger is drawn.
    """
    profile = profile.sums[0]
    parts = _parts(profile)
    floors = {row.signature: row.floor_ms for row in profile.rows if row.choice == KEPT}
    known = all(floors.get(signature) is not None for signature in profile.signatures.values())
    figure = Figure(figsize=(8.4, 1.9 + 0.24 * len(parts)), layout="constrained")
    axes = figure.subplots()
    left, floor_left = 0.0, 0.0
    for (label, signatures), colour in zip(parts, _SHADES, strict=False):
        took = math.fsum(profile.block_ms(name, KEPT) for name, s in profile.signatures.items() if s in signatures)
        axes.barh(0, took, left=left, color=colour, edgecolor="white", linewidth=0.5, label=f"{took:.2f} ms  {label}")
        left += took
        if known:
            floor = math.fsum(floors[s] or 0.0 for s in profile.signatures.values() if s in signatures)
            axes.barh(1, floor, left=floor_left, color=colour, edgecolor="white", linewidth=0.5)
            floor_left += floor
    axes.set_yticks(
        [0, 1][: 1 + known], [f"{profile.model}\n{profile.origin}", "at the device's\npeak rates"][: 1 + known]
    )
    axes.invert_yaxis()
    axes.set_xlabel(f"ms on {profile.setting.device}, batch {profile.setting.batch_size}; by the table, in context")
    figure.legend(loc="outside lower left", fontsize=7, frameon=False)
    return svg(figure)


def judgement(profile: Profile) -> str:
    """Draws predicted against measured latency of whole networks: those of the fit, and those held out to judge it."""
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.subplots()
    for held_out, colour, label in ((False, PALE, "fitted"), (True, COLOURS["keep"], "held out")):
        anchors = [anchor for anchor in profile.anchors if anchor.held_out is held_out]
        axes.scatter(
            [anchor.measured.latency_ms for anchor in anchors],
            [anchor.predicted_ms for anchor in anchors],
            s=22,
            color=colour,
            label=f"{len(anchors)} networks {label}",
            zorder=3,
        )
    most = 1.05 * max(max(anchor.measured.latency_ms, anchor.predicted_ms) for anchor in profile.anchors)
    error = profile.relative_error
    axes.plot([0, most], [0, most], color="black", linewidth=0.8)
    axes.fill_between(
        [0, most],
        [0, most * (1 - error)],
        [0, most * (1 + error)],
        color=COLOURS["merge"],
        alpha=0.25,
        linewidth=0,
        label=f"within {error:.1%}",
    )
    axes.set(xlabel="measured, ms", ylabel="predicted, ms", xlim=(0, most), ylim=(0, most), aspect="equal")
    axes.legend(fontsize=8)
    return svg(figure)


def _parts(profile: Profile) -> Sequence[tuple[str, set[str]]]:
    """(label, signatures) of the kinds of block that take most, and last of all the others together."""
    costs: dict[str, float] = {}
    for name, signature in profile.signatures.items():
        costs[signature] = costs.get(signature, 0.0) + profile.block_ms(name, KEPT)
    order = sorted(costs, key=lambda signature: -costs[signature])
    parts = [(_label(profile.signatures, signature), {signature}) for signature in order[:_MOST_PARTS]]
    rest = set(order[_MOST_PARTS:])
    return [*parts, (f"{len(rest)} other kinds of block", rest)] if rest else parts


def _label(signatures: Mapping[str, str], signature: str) -> str:
    count = list(signatures.values()).count(signature)
    text = signature if len(signature) <= 88 else signature[:85] + "..."
    return f"{count} x {text}" if count > 1 else text
