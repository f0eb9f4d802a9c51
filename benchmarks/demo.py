"""The demo, for several seeds: every figure of the README's table, and its pictures.

    python benchmarks/demo.py --seeds 0 1 2 --output demo-out

Types `depthfinder run --seed S` for each seed, one after another, and prints what the runs came to; beside the table it
writes the figures as JSON to `benchmarks/results/`. Typed again with the same output folder, it takes up what was
stopped and repeats nothing.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from depthfinder.folder.result import RunResult
from depthfinder.report.pictures import block_map, latency_bars, pareto
from profiles.store import load_profile
from pruner.choices.choice import DROP, FITS, FOLDS, KEEP, SHARES
from shared.tables import markdown_table, publish

# What is told of each seed's blocks -> the choices that this is.
GROUPS = {"kept": (KEEP,), "narrower": tuple(SHARES), "fitted": FITS, "merged": FOLDS, "dropped": (DROP,)}
COLUMNS = (
    "seed",
    "baseline",
    "pruned",
    "no training",
    "baseline, ms",
    "pruned, ms",
    "ratio",
    "95 % interval",
    "by processor time",
    "verdict",
    " / ".join(GROUPS),
    "minutes",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("demo-out"))
    parser.add_argument("--pictures", type=Path, help="a folder for the pictures of the first seed's run")
    arguments = parser.parse_args()

    folders = {seed: run(seed, arguments.output / f"seed-{seed}") for seed in arguments.seeds}
    results = {seed: RunResult.load(folder / "result.json") for seed, folder in folders.items()}
    first = arguments.seeds[0]
    setting = results[first].setting
    title = (
        f"{setting.hardware}, {setting.runtime}, {setting.dtype}, batch {setting.batch_size}, {setting.threads} thread"
    )
    rows = [row(seed, folders[seed], result) for seed, result in results.items()]
    records = {seed: json.loads((folder / "result.json").read_text()) for seed, folder in folders.items()}
    publish("demo", [title, "", *markdown_table(COLUMNS, rows)], records)
    if arguments.pictures:
        draw(folders[first], results[first], arguments.pictures)


def run(seed: int, output: Path) -> Path:
    """One run of the demo with a profile of its own; its folder."""
    words = ["run", "--seed", str(seed), "--output", str(output), "--experiment", "run"]
    subprocess.run([sys.executable, "-m", "depthfinder", *words], check=True, stdout=sys.stderr)
    return output / "run"


def row(seed: int, folder: Path, result: RunResult) -> list[str]:
    baseline, pruned, ratio = result.baseline, result.pruned, result.measured_ratio
    state = json.loads((folder / "state.json").read_text())
    minutes = sum(stage["seconds"] for stage in state.values()) / 60
    return [
        str(seed),
        f"{baseline.accuracy:.2%}",
        f"{pruned.accuracy:.2%}",
        f"{result.accuracy_without_training:.2%}",
        f"{baseline.latency.latency_ms:.3f}",
        f"{pruned.latency.latency_ms:.3f}",
        f"{ratio.value:.3f}",
        f"{ratio.low:.3f} to {ratio.high:.3f}",
        "" if result.processor_ratio is None else f"{result.processor_ratio.value:.3f}",
        result.verdict.answer,
        " / ".join(str(sum(pruned.blocks.get(choice, 0) for choice in choices)) for choices in GROUPS.values()),
        f"{minutes:.1f}",
    ]


def draw(folder: Path, result: RunResult, pictures: Path) -> None:
    profile = load_profile(folder / "profile.json")
    found = json.loads((folder / "search.json").read_text())
    pictures.mkdir(parents=True, exist_ok=True)
    (pictures / "block-map.svg").write_text(block_map(profile.blocks, result.plan))
    (pictures / "latency.svg").write_text(latency_bars(result, profile))
    (pictures / "search.svg").write_text(pareto(found, result.budget_ms, result.plan))


if __name__ == "__main__":
    main()
