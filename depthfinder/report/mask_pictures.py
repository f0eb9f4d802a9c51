"""The pictures of a result of `sparsify`: how much each layer lost, and both networks as measured."""

from collections.abc import Mapping
from typing import Final

from matplotlib.figure import Figure

from depthfinder.folder.mask_result import MeasuredRemoval
from depthfinder.report.pictures import COLOURS, measured_bar, svg

_LABELLED: Final = 40
"""The most layers that have their names; the names of more would overlap."""


def share_by_layer(layers: Mapping[str, float]) -> str:
    """Returns a picture, as SVG, with a bar for every layer: the share of its groups that were removed."""
    figure = Figure(figsize=(6.4, 0.9 + min(0.18 * len(layers), 9.0)), layout="constrained")
    axes = figure.subplots()
    places = range(len(layers))
    axes.barh(places, [100 * share for share in layers.values()], color=COLOURS["keep"], height=0.8)
    if len(layers) <= _LABELLED:
        axes.set_yticks(places, [name.replace("$", "\\$") for name in layers], fontsize=7)
    else:
        axes.set_ylabel("layers, in the network's order")
    axes.invert_yaxis()
    axes.set(xlabel="groups that went, %", xlim=(0, 100))
    return svg(figure)


def measured_side_by_side(removal: MeasuredRemoval) -> str:
    """Returns a picture, as SVG, of both measured latencies with their spread."""
    figure = Figure(figsize=(6.4, 1.9), layout="constrained")
    axes = figure.subplots()
    for place, measured in enumerate((removal.baseline, removal.pruned)):
        measured_bar(axes, place, measured)
    axes.set_yticks([0, 1], ["baseline", "without the channels"])
    axes.invert_yaxis()
    axes.set_xlabel(f"ms on {removal.setting.device}\n(bars: lower quartile; whiskers: 10th to 90th percentile)")
    return svg(figure)
