"""Fits what a modelled table rests on: three figures for each kind of operator on each device with published timings.

    python benchmarks/operators.py ../shared/data/op-latency/train.csv

An operator is said to take `overhead + max(operations / (a * peak), bytes / (b * bandwidth))`; overhead, a and b are
those of the least mean |log(said / published)|. `low` and `high` are the factors that 90 % of the published timings lie
within. Half of the shapes fit, the other half judge. Writes profiles/operators.json, and results/operators.md.
"""

import argparse
import csv
import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from latency.modelled import FLOAT_BYTES, OperatorModel, operator_ms
from latency.roofline import Peak, Work
from profiles.descriptions import load_description

ROOT = Path(__file__).parent.parent
KINDS = {
    "linear": "matmul", "bmm": "matmul", "conv": "conv", "softmax": "normalise", "ln": "normalise",
    "gelu": "elementwise", "relu": "elementwise", "add": "elementwise", "mul": "elementwise",
}  # fmt: skip
DEVICES = {
    "AMD Instinct MI100": "mi100", "AMD Instinct MI210": "mi210", "NVIDIA A100-PCIE-40GB": "a100",
    "NVIDIA A100 80GB PCIe": "a100", "Tesla V100-PCIE-32GB": "v100", "Tesla T4": "t4",
}  # fmt: skip


def work(row: Mapping[str, str]) -> Work:
    figures = {
        name: int(float(value)) for name, value in row.items() if value and name not in ("device", "op", "torch")
    }
    if row["op"] in ("linear", "bmm"):
        b, m, n, k = (figures[name] for name in "bmnk")
        weights = b * k * n if row["op"] == "bmm" else k * n
        return Work(2 * b * m * n * k, FLOAT_BYTES * (b * m * k + weights + b * m * n))
    if row["op"] == "conv":
        b, c_in, c_out, size, kernel = (figures[name] for name in ("b", "c_in", "c_out", "size", "kernel"))
        pixels = b * size * size
        return Work(
            2 * pixels * c_in * c_out * kernel**2, FLOAT_BYTES * (pixels * (c_in + c_out) + c_in * c_out * kernel**2)
        )
    numbers = figures["b"] * figures["h"]
    return Work(0, FLOAT_BYTES * numbers * (3 if row["op"] in ("add", "mul") else 2))


def is_judge(row: Mapping[str, str]) -> bool:
    shape = repr([row[name] for name in ("op", "b", "h", "m", "n", "k", "c_in", "c_out", "size")])
    return zlib.crc32(shape.encode()) % 2 == 1


def logs(model: OperatorModel, works: Sequence[Work], published: np.ndarray, peak: Peak) -> np.ndarray:
    return np.log([operator_ms(model, one, peak) for one in works] / published)


def fitted(works: Sequence[Work], published: np.ndarray, peak: Peak) -> OperatorModel:
    flops = np.array([one.flops for one in works]) / peak.flops_per_ms
    traffic = np.array([one.traffic_bytes for one in works]) / peak.bytes_per_ms

    def loss(x: np.ndarray) -> float:
        overhead, compute, memory = np.exp(x)
        said = overhead + np.maximum(flops / compute, traffic / memory)
        return float(np.abs(np.log(said / published)).mean())

    start = np.log([np.percentile(published, 1), 0.6, 0.6])
    found = np.exp(minimize(loss, start, method="Nelder-Mead", options={"maxiter": 2000}).x)
    overhead, compute, memory = (float(f"{figure:.4g}") for figure in found)
    model = OperatorModel(overhead, compute, memory, 1.0, 1.0)
    low, high = np.exp(np.percentile(-logs(model, works, published, peak), [5, 95]))
    return OperatorModel(overhead, compute, memory, float(f"{low:.3g}"), float(f"{high:.3g}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    asked = parser.parse_args()
    rows: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    with asked.rows.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["device"] in DEVICES:
                rows[DEVICES[row["device"]], KINDS[row["op"]]].append(row)
    models: dict[str, dict[str, OperatorModel]] = defaultdict(dict)
    lines = ["| device | operators | published timings | judged by | MAPE | within 10 % | in the 90 % interval |"]
    lines.append("|" + " --- |" * 7)
    for (name, kind), published in sorted(rows.items()):
        description = load_description(name)
        tflops = description.peak_tflops["fp32_matrix"]
        assert tflops is not None
        peak = Peak(tflops * 1e9, description.memory_gb_s * 1e6)
        parts = {judging: [row for row in published if is_judge(row) is judging] for judging in (False, True)}
        works = {judging: [work(row) for row in part] for judging, part in parts.items()}
        took = {judging: np.array([float(row["latency_ms"]) for row in part]) for judging, part in parts.items()}
        model = fitted(works[False], took[False], peak)
        models[name][kind] = model
        log = logs(model, works[True], took[True], peak)
        error, inside = np.abs(np.expm1(log)), (-log >= np.log(model.low)) & (-log <= np.log(model.high))
        cells = (name, kind, len(published), len(log), f"{error.mean():.1%}", f"{(error <= 0.1).mean():.0%}")
        lines.append(f"| {' | '.join(map(str, cells))} | {inside.mean():.0%} |")
    source = "fits of timings published with NeuSight (Lee et al., ASPLOS 2025), fp32, by benchmarks/operators.py"
    record = {
        "source": source,
        "devices": {name: {kind: vars(model) for kind, model in kinds.items()} for name, kinds in models.items()},
    }
    (ROOT / "profiles" / "operators.json").write_text(json.dumps(record, indent=1) + "\n")
    text = "\n".join(lines) + "\n\nFitted on one half of the shapes, judged on the other.\n"
    (ROOT / "benchmarks" / "results" / "operators.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
