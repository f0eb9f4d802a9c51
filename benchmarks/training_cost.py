"""What the supernet's and the progressive training cost, beside ordinary training of the same network.

    python benchmarks/training_cost.py

Trains four networks on random images in memory, all ways in turn in every round, by the loop that a run uses. One
training is as many steps as it takes for lambda to go from 1 to 0 and stay there as long. A supernet step runs two
networks and learns from one what the other answers; so does the ordinary step that it is compared to, which runs the
uncut network twice. Ratios are medians over the rounds, in each of which both were timed, with their range.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch

from latency.hardware import processor_name
from pruner.choices.choice import MERGE
from pruner.choices.plan import Plan
from pruner.models.checkpoint import CheckpointFile
from pruner.models.load import load_model
from pruner.network.image_size import input_size_of
from pruner.network.surgery import apply, describe, supernet
from pruner.progress import silent
from pruner.training.loop import fit
from pruner.training.objective import Objective, Supervised, Teaching, light_copy
from pruner.training.progressive import Progressive, calibrate_norms
from pruner.training.settings import TrainSettings
from pruner.training.supernet import SupernetObjective
from shared.random_images import RandomImages
from shared.spreads import median_and_range
from shared.tables import markdown_row, markdown_table, publish

# Name -> (timm's arguments, images in a batch).
NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "deit_tiny_patch16_224": ({"img_size": 128, "num_classes": 10}, 8),
    "convnext_atto": ({"img_size": 128, "num_classes": 10}, 8),
    "mobilenetv2_100": ({"img_size": 128, "num_classes": 10}, 8),
    "resnet18": ({"img_size": 128, "num_classes": 10}, 8),
}
HEADINGS = ("network", "plan cuts", "supernet step / 2 passes", "progressive / ordinary", "the same, both distilled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    records, rows = {}, []
    for name in arguments.networks:
        records[name] = timed(name, arguments.rounds, arguments.steps)
        rows.append(row(name, records[name]))
        print(markdown_row(rows[-1]), flush=True)
    lines = [
        *markdown_table(HEADINGS, rows),
        "",
        f"Medians (lowest to highest) of {arguments.rounds} rounds, {arguments.steps} steps to a training; "
        f"{processor_name()}, 1 thread, torch {torch.__version__}, fp32.",
    ]
    publish("training_cost", lines, records)


def timed(name: str, rounds: int, steps: int) -> dict[str, Any]:
    """Seconds of every way of training in every round, and what the plan cuts."""
    kwargs, batch_size = NETWORKS[name]
    torch.manual_seed(0)
    baseline = load_model(name, **kwargs)
    random = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, *input_size_of(baseline), generator=random)
    data = RandomImages((images, torch.randint(10, (batch_size,), generator=random)), steps, num_classes=10)
    settings = TrainSettings(epochs=1, batch_size=batch_size)
    chain = describe(baseline)
    plan = chain.random_plan(0.4, Random(2))
    teacher = light_copy(baseline)
    cut = apply(baseline, plan)
    calibrate_norms(cut, plan, data, settings)
    shared = supernet(baseline)
    calibrate_norms(shared, chain.plan({b.name: MERGE for b in chain.blocks if MERGE in b.choices}), data, settings)
    nothing = Plan(chain.model)
    ways: dict[str, Callable[[], Objective]] = {
        "ordinary": lambda: Supervised(baseline),
        "distilled": lambda: Supervised(baseline, Teaching(teacher)),
        "progressive": lambda: Progressive(cut, Teaching(teacher)),
        "twice": lambda: SupernetObjective(shared, draw=lambda _random: [nothing]),
        "supernet": lambda: SupernetObjective(shared),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for round_index in range(rounds + 1):
        order = list(ways) if round_index % 2 else list(reversed(ways))
        for way in order:
            took = train(ways[way](), data, settings)
            if round_index:  # the first is to warm up
                seconds[way].append(took)
    return {"seconds": seconds, "plan": dict(plan.choices), "blocks": len(chain.blocks)}


def train(objective: Objective, data: RandomImages, settings: TrainSettings) -> float:
    """Seconds that the steps of one training take."""
    with tempfile.TemporaryDirectory() as folder:
        (epoch,) = fit(objective, data, settings, CheckpointFile(Path(folder) / "x.safetensors", "x"), silent)
    return epoch.seconds


def row(name: str, record: dict[str, Any]) -> tuple[str, ...]:
    def ratio(over: str, under: str) -> str:
        pairs = zip(record["seconds"][over], record["seconds"][under], strict=True)
        return median_and_range([a / b for a, b in pairs])

    cuts = f"{len(record['plan'])} of {record['blocks']}"
    ratios = ratio("supernet", "twice"), ratio("progressive", "ordinary"), ratio("progressive", "distilled")
    return name, cuts, *ratios


if __name__ == "__main__":
    main()
