"""How fast should a cut network learn whose layers were fitted? It depends on what it loses before any training.

    python benchmarks/learning_rates.py --output learning-rates-out --baselines progressive-out

The plans are those that `width.py` found for four small networks at shares of their latency (depth, merged form and
width together). Each is fitted in sequence and trained as `width.py` trains it, at several learning rates, by several
seeds; the rates are shares of that of `progressive.py`. Two processes of one thread each work on it; typed again, it
goes on from where it was. The table goes to `benchmarks/results/`.
"""

import argparse
import functools
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from latency.hardware import processor_name
from profiles.files import write_whole
from pruner.choices.plan import Plan
from pruner.training.accuracy import accuracy
from pruner.training.pace import MUCH
from pruner.training.settings import Optimizing, TrainSettings
from shared.baselines import FEW, LEARNING_RATE, baseline, images_of
from shared.processes import in_processes
from shared.spreads import mean_of_shares
from shared.tables import RESULTS, markdown_table, publish
from shared.trained_plans import trained_plan

SHARES: Final = (1.0, 0.4, 0.2)
EPOCHS: Final = 8


@dataclass(frozen=True)
class Trial:
    """One training: a network at a budget, at a share of the learning rate, by a seed."""

    network: str
    budget: float
    share: float
    seed: int

    @property
    def file(self) -> str:
        return f"{self.network}-{self.budget}-{self.share}-{self.seed}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("learning-rates-out"))
    parser.add_argument("--baselines", type=Path, default=Path("progressive-out"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12])
    asked = parser.parse_args()

    asked.output.mkdir(parents=True, exist_ok=True)
    width = json.loads((RESULTS / "width.json").read_text())
    places = [(place["family"], place["budget"]) for place in width["places"]]
    trials = [Trial(*place, share, seed) for seed in asked.seeds for place in places for share in SHARES]
    work = functools.partial(carried_out, baselines=asked.baselines)
    for line in in_processes(work, trials, asked.output, 2):
        print(line, flush=True)
    record = {
        "processor": processor_name(),
        "torch": torch.__version__,
        "uncut": {name: about["accuracy"] for name, about in width["baselines"].items()},
        "trials": [json.loads((asked.output / trial.file).read_text()) for trial in trials],
    }
    publish("learning_rates", lines_of(record, places), record)


def plan_of(network: str, budget: float) -> Plan:
    """What `width.py` found at this budget."""
    places = json.loads((RESULTS / "width.json").read_text())["places"]
    (place,) = (place for place in places if (place["family"], place["budget"]) == (network, budget))
    return Plan.from_json(place["all together"]["plan"])


def carried_out(trial: Trial, output: Path, baselines: Path) -> str:
    """Test accuracy before and after one training."""
    file = output / trial.file
    if not file.exists():
        whole = baseline(trial.network, baselines)
        optimizing = Optimizing(lr=LEARNING_RATE * trial.share)
        settings = TrainSettings(EPOCHS, seed=trial.seed, optimizing=optimizing)
        plan = plan_of(trial.network, trial.budget)
        merged, before = trained_plan(whole, plan, FEW, settings, images_of(FEW), least_lr_share=1.0)
        after = accuracy(merged, FEW.test_batches(batch_size=250))
        write_whole(file, json.dumps(asdict(trial) | {"before": before, "after": after}) + "\n")
    record = json.loads(file.read_text())
    return (
        f"{trial.network} {trial.budget:g}, seed {trial.seed}, {trial.share:g} of the rate: "
        f"{record['before']:.2%} {record['after']:.2%}"
    )


def lines_of(record: Mapping[str, Any], places: Sequence[tuple[str, float]]) -> list[str]:
    """The table, least lost first, and what each share gives on either side of `MUCH`."""
    rows = []
    for network, budget in places:
        of_place = [one for one in record["trials"] if (one["network"], one["budget"]) == (network, budget)]
        lost = record["uncut"][network] - statistics.mean(one["before"] for one in of_place)
        left = [
            [record["uncut"][network] - one["after"] for one in of_place if one["share"] == share] for share in SHARES
        ]
        rows.append((lost, network, budget, left))
    heads = ("network", "budget", "lost before training", *(f"{share:g} of the rate" for share in SHARES))
    cells = [
        (network, f"{budget:g}", f"{100 * lost:.2f}", *map(mean_of_shares, left))
        for lost, network, budget, left in sorted(rows)
    ]
    lines = [*markdown_table(heads, cells), ""]
    for which, some in (
        ("less than", [left for lost, *_, left in rows if lost < MUCH]),
        ("at least", [left for lost, *_, left in rows if lost >= MUCH]),
    ):
        means = [statistics.mean(statistics.mean(one) for one in shares) for shares in zip(*some, strict=True)]
        beside = ", ".join(f"{100 * mean:.2f} at {share:g}" for share, mean in zip(SHARES, means, strict=True))
        lines.append(f"- Lost in the mean of the {len(some)} that lose {which} {MUCH:.0%} before training: {beside}.")
    seeds = len({one["seed"] for one in record["trials"]})
    lines += [
        "",
        f"{record['processor']}, torch {record['torch']}; points of test accuracy lost beside the uncut network, after "
        f"{EPOCHS} epochs at shares of the learning rate {LEARNING_RATE:g} (AdamW, cosine); {seeds} seeds.",
    ]
    return lines


if __name__ == "__main__":
    main()
