"""How well whole networks are predicted on devices that are not here: max(kernels, host), against published figures.

    python benchmarks/whole_networks.py ../shared/data/timm-benchmarks ../shared/data/op-latency/train.csv
    python benchmarks/whole_networks.py ... --only figures          # one part
    python benchmarks/whole_networks.py ... --ship                  # writes profiles/networks.json

Parts: `figures` (three networks on V100 and T4, fp32, batch 1, 4 and 16, eager and compiled) and `throughput` (timm's
networks on an RTX 3090 and an RTX 4090 under AMP). Each writes results/whole_networks_PART.md, all of them
results/whole_networks.json.

No network judges what it had a part in fitting: neither the host's time nor a card's correction. The figures are read
where they lie and not kept.
"""

import argparse
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latency.predictor.compiled import fused
from latency.predictor.host import HostFigure, HostTime, host_factor, issue_ms
from latency.predictor.kernels import KernelCosts, overheads_ms
from latency.predictor.kinds import KINDS
from latency.predictor.listen import Operator, operators_of
from latency.predictor.operators import timed_on
from latency.predictor.rows import OperatorRows, read_rows
from latency.predictor.whole import NETWORKS, Card, WholeNetworks
from predictor_study.timm_throughput import covered, nine_in_ten, throughput
from profiles.descriptions import description_names
from profiles.judgement import Judgement
from pruner.models.load import load_model
from shared.tables import markdown_table, percent, publish, write_record

NAMES = {"ViT-B/16 224": "vit_base_patch16_224", "ConvNeXt-L 224": "convnext_large", "ResNet-50 224": "resnet50"}
BATCHES = (1, 4, 16)
TIMED_ALONE = ("v100", "t4")
SUSTAINED = 0.9  # the quantile of the rates of a card's largest quarter of products
SOURCE = "whole networks on V100 and T4, PyTorch 2.0.1, fp32"
"""What the judgements in a table say that they are by."""


@dataclass(frozen=True)
class Figure:
    """One published figure, in ms eager and compiled, with what is predicted of it: sums of kernels with their bounds,
    and what the host takes to issue its operators where each is timed alone."""

    card: str
    network: str
    batch: int
    took: tuple[float, float]
    kernels: tuple[tuple[float, float, float], tuple[float, float, float]]
    alone_ms: tuple[float, float]

    def of(self, setting: int) -> HostFigure:
        """For the host: eager (0) or compiled (1)."""
        kernels_ms = self.kernels[setting][1]
        return HostFigure(self.network, self.card, self.took[setting], kernels_ms, self.alone_ms[setting])


def published(folder: Path) -> dict[tuple[str, str, int], tuple[float, float]]:
    """(card, network, batch) -> ms eager and compiled, from the table in the folder's SOURCE.md."""
    found = {}
    for line in (folder / "SOURCE.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 + len(BATCHES) and cells[1] in NAMES:
            for batch, cell in zip(BATCHES, cells[2:], strict=True):
                eager, compiled = map(float, re.findall(r"[\d.]+", cell))
                found[cells[0].lower(), cells[1], batch] = (eager, compiled)
    return found


def as_published(operators: Sequence[Operator]) -> list[Operator]:
    """The operators as the measured implementation has them: queries, keys and values by a product each."""
    found: list[Operator] = []
    for one in operators:
        is_fused = one.kind == "linear" and one.dims[2] == 3 * one.dims[3]
        third = Operator(one.kind, (*one.dims[:2], one.dims[2] / 3, *one.dims[3:])) if is_fused else one
        found += [third] * (3 if is_fused else 1)
    return found


def sustained_tflops(rows: OperatorRows, device: str) -> float:
    """The rate that a card's large products in fp32 keep up."""
    timed = timed_on(rows, device)["linear"]
    work = 2 * timed.dims.prod(axis=1)
    large = work >= np.quantile(work, 0.75)
    return float(np.quantile((work / timed.took_ms)[large], SUSTAINED)) / 1e9


def issued_alone_ms() -> dict[str, float]:
    """What a host takes to issue an operator of each kind: the overhead of the kind in published timings, the geometric
    mean over the cards of the figures. What a convolution adds cannot be told from its rows: it takes what a linear
    layer does, another product with weights."""
    kinds = [kind for kind in KINDS if kind != "conv"]
    overheads = {kind: [overheads_ms(card, "fp32")[kind] for card in TIMED_ALONE] for kind in kinds}
    found = {kind: float(np.exp(np.mean(np.log(overheads[kind])))) for kind in kinds}
    return found | {"conv": found["linear"]}


def figures_of(folder: Path, rows: OperatorRows) -> list[Figure]:
    found, alone_ms = [], issued_alone_ms()
    for (card, network, batch), took in published(folder).items():
        with torch.device("meta"):
            model = load_model(NAMES[network])
        eager = as_published(operators_of(model, torch.empty(batch, 3, 224, 224, device="meta")))
        compiled = fused(eager)
        rated = Card(0.0, (), sustained_tflops(rows, card))
        costs = KernelCosts(card, "fp32", rated)
        low_said_high = costs.bounds([eager, compiled])
        issuing = issue_ms(eager, alone_ms), issue_ms(compiled, alone_ms)
        found.append(Figure(card, network, batch, took, (low_said_high[0], low_said_high[1]), issuing))
    return found


def left_out_host_ms(figures: Sequence[Figure], one: Figure, setting: int) -> float:
    """What the host takes for a network, by the others."""
    return one.alone_ms[setting] * host_factor([f.of(setting) for f in figures if f.network != one.network])


def judged_kernels(figures: Sequence[Figure], setting: int) -> tuple[float, list[tuple[Figure, float]]]:
    """What nine in ten sums of kernels stay within by the figures of the other network and card, and log(took / said)
    of all that are the kernels'."""
    found = []
    for one in figures:
        host_ms = left_out_host_ms(figures, one, setting)
        if one.kernels[setting][1] >= host_ms:
            found.append((one, float(np.log(one.took[setting] / one.kernels[setting][1]))))
    return nine_in_ten([error for _, error in found]), found


def show_figures(figures: Sequence[Figure]) -> tuple[list[str], dict[str, object]]:
    lines, record = [], []
    for setting, name in enumerate(("eager", "compiled")):
        for one in figures:
            others = [f for f in figures if (f.network, f.card) != (one.network, one.card)]
            margin, _ = judged_kernels([f for f in others if f.network != one.network], setting)
            host_ms = left_out_host_ms(figures, one, setting)
            low, kernels_ms, high = one.kernels[setting]
            said = max(kernels_ms, host_ms)
            bounds = (
                max(min(low, kernels_ms / (1 + margin)), host_ms / (1 + margin)),
                max(high, kernels_ms * (1 + margin), host_ms * (1 + margin)),
            )
            took, by = one.took[setting], "kernels" if kernels_ms >= host_ms else "host"
            inside = bounds[0] <= took <= bounds[1]
            error = said / took - 1
            record.append(
                {"setting": name, "card": one.card, "network": one.network, "batch": one.batch, "took_ms": took,
                 "kernels_ms": kernels_ms, "host_ms": host_ms, "error": error, "inside": inside}
            )  # fmt: skip
            cells = (f"{took:.2f}", f"{kernels_ms:.2f}", f"{host_ms:.2f}", by, f"{error:+.1%}")
            interval = f"{bounds[0]:.1f} to {bounds[1]:.1f}"
            lines.append((name, one.card, one.network, one.batch, *cells, interval, "yes" if inside else "no"))
    head = ("setting", "card", "network", "batch", "measured, ms", "kernels", "host", "bound by", "error",
            "90 % interval", "inside")  # fmt: skip
    summary = []
    for name in ("eager", "compiled"):
        for batch in BATCHES:
            some = [r for r in record if (r["setting"], r["batch"]) == (name, batch)]
            sizes = [abs(float(r["error"])) for r in some]  # type: ignore[arg-type]
            inside_count = sum(bool(r["inside"]) for r in some)
            summary.append((name, batch, percent(float(np.mean(sizes))), percent(max(sizes)), f"{inside_count} of 6"))
    by_all = [host_factor([one.of(setting) for one in figures]) for setting in (0, 1)]
    alone = ", ".join(f"{kind} {1e3 * ms:.0f}" for kind, ms in issued_alone_ms().items())
    note = (
        f"The host by the two other networks on both cards; by all three {by_all[0]:.2f} times eager, and "
        f"{by_all[1]:.2f} times compiled, what issuing operators takes alone (us: {alone}). Nothing of the kernels was "
        "fitted to these figures. The networks as they were measured: BatchNorms not folded, queries, keys and values "
        "by a product each."
    )
    tables = [*markdown_table(head, lines), ""]
    tables += markdown_table(("setting", "batch", "mean error", "worst", "inside"), summary)
    return [*tables, "", note], {"figures": record, "host_factors": by_all}


def taught(figures: Sequence[Figure], rows: OperatorRows, corrected: Mapping[str, Card]) -> WholeNetworks:
    """What ships: the host by all figures, how far off it was on networks left out, and cards."""
    errors: list[tuple[Figure, float]] = []
    host_errors: list[float] = []
    for setting in (0, 1):
        _, kernels = judged_kernels(figures, setting)
        errors += kernels
        bound = [one for one in figures if one not in [figure for figure, _ in kernels]]
        host_errors += [float(np.log(one.took[setting] / (left_out_host_ms(figures, one, setting)))) for one in bound]
    host_margin = nine_in_ten(host_errors)
    eager, compiled = (host_factor([one.of(setting) for one in figures]) for setting in (0, 1))
    host = HostTime(issued_alone_ms(), eager, compiled, host_margin)
    host_judged = (_judgement("host", SOURCE, host_errors),)
    every = [error for _, error in errors]
    margin = nine_in_ten(every)
    cards = {}
    for device in ("v100", "t4"):
        own = [error for figure, error in errors if figure.card == device]
        judged = _judgement("kernels", f"{SOURCE}, on this card", own)
        cards[device] = Card(margin, (judged,), sustained_tflops(rows, device))
    others = Card(margin, (_judgement("kernels", f"{SOURCE}: not this device", every),))
    timed = {name for name in description_names() if name in ("mi100", "mi210", "a100", "p100", "p4")}
    for device in sorted(timed):
        cards[device] = dataclasses.replace(others, sustained_tflops=sustained_tflops(rows, device))
    return WholeNetworks(host, host_judged, {**cards, **corrected}, others)


def _judgement(of: str, on: str, errors: Sequence[float]) -> Judgement:
    relative = np.abs(np.expm1(-np.array(errors)))
    return Judgement(of, on, len(errors), float(relative.mean()), covered(errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="the folder of the figures of whole networks")
    parser.add_argument("rows", type=Path, help="timings of operators")
    parser.add_argument("--only", choices=("figures", "throughput"), nargs="+", default=("figures", "throughput"))
    parser.add_argument(
        "--heard", type=Path, default=None, help="a file to keep what networks run in, and read it from"
    )
    parser.add_argument("--ship", action="store_true", help="write what comes with the package")
    asked = parser.parse_args()
    rows = read_rows(asked.rows)
    record, corrected = {}, {}
    figures = figures_of(asked.figures, rows)
    if "figures" in asked.only:
        lines, record["figures"] = show_figures(figures)
        publish("whole_networks_figures", lines)
        print(flush=True)
    if "throughput" in asked.only:
        lines, record["throughput"], corrected = throughput(asked.figures, asked.heard)
        publish("whole_networks_throughput", lines)
    write_record("whole_networks", record)
    if asked.ship:
        taught(figures, rows, corrected).save(NETWORKS)


if __name__ == "__main__":
    main()
