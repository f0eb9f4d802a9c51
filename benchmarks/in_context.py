"""How well the latency table predicts networks that took no part in its fit; beside it the sum of blocks timed alone.

    python benchmarks/in_context.py --networks deit_tiny_patch16_224 --devices ort-cpu --threads 1 --seconds 120

For each setting, fitted networks, networks held out, and the held-out ones loaded a second time (the noise floor) are
timed in the same rounds. Results are kept by setting in results/in_context.json and printed as results/in_context.md;
those of networks that are read from what they compute as in_context_any (`--name`).
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

import depthfinder as df
from latency.design import designed_plans
from latency.devices import Mode, open_device
from latency.profiler import compile_pieces, study_of, time_alone
from latency.study import REFERENCE
from latency.table import Table, network_names, peak_of
from latency.timing import time_interleaved
from latency.workbench import Workbench
from shared.busy_loops import busy_loops
from shared.tables import RESULTS, markdown_table, write_results

MODELS = ("deit_tiny_patch16_224", "mobilenetv2_100", "resnet34", "convnext_tiny")
SHARE_ALONE = 0.2


def judge(model: str, device_name: str, batch_size: int, asked: argparse.Namespace, threads: int) -> dict[str, Any]:
    started = time.monotonic()
    torch.manual_seed(0)
    device = open_device(device_name, Mode(threads=threads))
    bench = Workbench(df.load_model(model), device, batch_size)
    designed = designed_plans(bench.chain, asked.fitted, asked.held_out, seed=asked.seed)
    compile_pieces(bench, designed)
    plans = [(plan, False) for plan in designed.fitted] + [(plan, True) for plan in designed.held_out]
    study = study_of(bench, plans, {})
    names = network_names(study)
    twice = [name for name, network in names.items() if network.held_out][: asked.twice]
    with busy_loops(1 if asked.busy else 0):
        alone = time_alone(bench, seconds=SHARE_ALONE * asked.seconds, seed=0)
        programs = {REFERENCE: bench.references()[REFERENCE]}
        programs |= {name: bench.network(network) for name, network in names.items()}
        programs |= {f"{name} again": bench.network(names[name]) for name in twice}
        whole = time_interleaved(programs, seconds=asked.seconds, seed=0)
    table = Table(study, alone, whole, peak=peak_of(alone, device.reference_size))
    profile = table.profile(device.setting(batch_size), "measured", time.monotonic() - started)
    held_out = [anchor for anchor in profile.anchors if anchor.held_out]
    measured = np.array([anchor.measured.latency_ms for anchor in held_out])
    fitted = np.array([anchor.predicted_ms for anchor in held_out])
    isolated = np.array(
        [
            sum(alone.measurement(key).latency_ms for key in network.keys)
            for network in study.networks
            if network.held_out
        ]
    )
    floor = np.array(
        [whole.measurement(f"{name} again").latency_ms / whole.measurement(name).latency_ms - 1 for name in twice]
    )
    conditions = profile.conditions
    assert conditions is not None
    return {
        "model": model,
        "device": device_name,
        "threads": threads,
        "batch_size": batch_size,
        "busy": asked.busy,
        "hardware": profile.setting.hardware,
        "runtime": profile.setting.runtime,
        "networks_fitted": len(study.networks) - len(held_out),
        "rounds": len(whole.rounds[REFERENCE]),
        "seconds": profile.seconds,
        "measured_ms": measured.tolist(),
        "fitted": errors(fitted, measured, floor),
        "isolated": errors(isolated, measured, floor),
        "floor": {"mean": abs(floor).mean(), "worst": abs(floor).max(), "networks": len(floor)},
        "round_spread": conditions.round_spread,
        "cpu_share": conditions.cpu_share,
    }


def errors(predicted: np.ndarray, measured: np.ndarray, floor: np.ndarray) -> dict[str, Any]:
    error = predicted / measured - 1
    apart = told_apart(measured, float(abs(floor).max()))
    return {
        "errors": error.tolist(),
        "mean": abs(error).mean(),
        "worst": abs(error).max(),
        "within_5": (abs(error) <= 0.05).mean(),
        "within_10": (abs(error) <= 0.10).mean(),
        "spearman": spearmanr(predicted, measured).statistic,
        "spearman_apart": spearmanr(predicted[apart], measured[apart]).statistic,
        "apart": len(apart),
    }


def told_apart(measured: np.ndarray, noise: float) -> list[int]:
    """Indices of networks, each slower than the one before by more than the noise floor's worst."""
    kept: list[int] = []
    for index in np.argsort(measured):
        if not kept or measured[index] > measured[kept[-1]] * (1 + noise):
            kept.append(int(index))
    return kept


def lines_of(found: Sequence[dict[str, Any]]) -> list[str]:
    head = (
        "network", "device", "batch", "threads", "other core", "networks", "within 5 %", "within 10 %", "mean", "worst",
        "Spearman", "told apart", "noise floor, mean / worst", "isolated sum: within 5 %", "mean", "worst", "Spearman",
    )  # fmt: skip
    rows = []
    for one in found:
        fitted, isolated, floor = one["fitted"], one["isolated"], one["floor"]
        rows.append((
            one["model"], one["device"], one["batch_size"], one["threads"], "busy" if one["busy"] else "quiet",
            len(fitted["errors"]), f"{fitted['within_5']:.0%}", f"{fitted['within_10']:.0%}", f"{fitted['mean']:.1%}",
            f"{fitted['worst']:.1%}", f"{fitted['spearman']:.3f}",
            f"{fitted['spearman_apart']:.3f} of {fitted['apart']}",
            f"{floor['mean']:.1%} / {floor['worst']:.1%}", f"{isolated['within_5']:.0%}", f"{isolated['mean']:.1%}",
            f"{isolated['worst']:.1%}", f"{isolated['spearman']:.3f}",
        ))  # fmt: skip
    runtimes = ", ".join(sorted({one["runtime"] for one in found}))
    fits = sorted({one["networks_fitted"] for one in found})
    rounds = sorted(one["rounds"] for one in found)
    note = (
        "Errors of networks that took no part in the fit, relative to what was measured. Noise floor: the same "
        "networks loaded twice and timed in the same rounds. Told apart: Spearman over networks each slower than the "
        f"last by more than that floor's worst. {fits[0]} to {fits[-1]} networks fitted, {rounds[0]} to {rounds[-1]} "
        f"rounds; 224 pixels, fp32, {found[0]['hardware']}, {runtimes}."
    )
    return [*markdown_table(head, rows), "", f"Of all predictions: {'; '.join(summaries(found))}.", "", note]


def summaries(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What all networks of one load and number of threads come to together."""
    for busy, threads in sorted({(one["busy"], one["threads"]) for one in found}):
        alike = [one for one in found if (one["busy"], one["threads"]) == (busy, threads)]
        said = []
        for name, how in (("fitted", "in context"), ("isolated", "isolated sums")):
            errors = np.abs([error for one in alike for error in one[name]["errors"]])
            said.append(
                f"{how} {(errors <= 0.05).mean():.1%} within 5 %, mean {errors.mean():.1%}, worst {errors.max():.1%}"
            )
        load = "with a busy loop beside" if busy else "quiet"
        count = sum(len(one["fitted"]["errors"]) for one in alike)
        yield f"{threads} thread{'s' if threads > 1 else ''}, {load} ({count} networks): {', '.join(said)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=MODELS)
    parser.add_argument("--devices", nargs="+", default=("ort-cpu", "cpu"))
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=(1,))
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--fitted", type=int, default=24)
    parser.add_argument("--held-out", type=int, default=24)
    parser.add_argument("--twice", type=int, default=24, help="held-out networks to load a second time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--busy", action="store_true", help="with a busy loop on another core")
    parser.add_argument("--name", default="in_context", help="the name of the table")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the table")
    asked = parser.parse_args()
    kept = asked.results / f"{asked.name}.json"
    known: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for model in asked.networks:
        for device in asked.devices:
            for threads in asked.threads:
                for batch_size in asked.batch_sizes:
                    found = judge(model, device, batch_size, asked, threads)
                    key = f"{device} {'busy' if asked.busy else 'quiet'} t{threads} b{batch_size} {model}"
                    known = dict(sorted({**known, key: found}.items()))
                    write_results(asked.name, lines_of(list(known.values())), known, asked.results)
                    print(*lines_of([found]), "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
