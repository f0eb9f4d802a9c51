"""How many images a second each kind of training takes on this machine, and what the recipes would take at that speed.

    python benchmarks/throughput.py --device cpu --batch-size 8 --steps 3     # writes results/throughput_cpu.*
    python benchmarks/throughput.py --device cuda --amp float16 --batch-size 256 --steps 30
    python benchmarks/throughput.py --device cpu --only print    # the same figures again, with the recipes as they are

- plain: the network itself, by labels.
- supernet: the uncut path by labels and one random plan by labels and the uncut path.
- closing: a plan's network while lambda is above 0, by labels and the baseline.
- closed: the same at lambda 0.

Each is trained by `fit` for two epochs of so many steps on random images that lie in memory; the first warms up, the
second counts. The four take turns, for several rounds. Loading and decoding images is left out, for it goes on beside
the training; moving them to the device is counted. The weights and the plan, which cuts a third of the blocks that can
be cut, are random, from a seed.
"""

import argparse
import copy
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

import torch
import yaml
from torch import nn

import depthfinder as df
from depthfinder.config.declared import made
from depthfinder.config.train import TrainConfig
from latency.hardware import processor_name
from pruner.choices.chain import Chain
from pruner.choices.plan import Plan
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import apply, describe, supernet
from pruner.progress import silent
from pruner.training.loop import fit
from pruner.training.objective import Objective, Supervised, Teaching, light_copy
from pruner.training.progressive import Progressive
from pruner.training.schedules import Schedule
from pruner.training.settings import AmpDtype, Precision, TrainSettings
from pruner.training.supernet import SupernetObjective
from pruner.training.world import alone
from shared.random_images import RandomImages
from shared.spreads import median_and_range
from shared.tables import RESULTS, markdown_table, publish, write_record

ROOT = Path(__file__).parent.parent
NETWORKS = ("deit_tiny_patch16_224", "resnet34")
CUT_SHARE = 1 / 3
AT_ONCE = 1e-9  # of a training: all gates are closed from its second step on
IMAGENET_IMAGES = 1_281_167  # for training, in ILSVRC 2012


@dataclass(frozen=True)
class Setting:
    """What the figures hold for."""

    device: str
    hardware: str
    torch: str
    threads: int
    batch_size: int
    amp: AmpDtype | None
    rounds: int
    steps: int


@dataclass(frozen=True)
class Line:
    """One network: how many of its blocks the plan leaves to each choice; way -> images per second by round; and the
    machine's load average at the end of each round."""

    network: str
    pixels: int
    blocks: Mapping[str, int]
    images_per_s: Mapping[str, Sequence[float]]
    loads: Sequence[float]

    def rate(self, way: str) -> float:
        return statistics.median(self.images_per_s[way])


def plain(model: nn.Module, _plan: Plan) -> Objective:
    return Supervised(copy.deepcopy(model))


def shared(model: nn.Module, _plan: Plan) -> Objective:
    return SupernetObjective(supernet(model))


def closing(model: nn.Module, plan: Plan) -> Objective:
    return _progressive(model, plan, 1.0)


def closed(model: nn.Module, plan: Plan) -> Objective:
    return _progressive(model, plan, AT_ONCE)


def _progressive(model: nn.Module, plan: Plan, closing_share: float) -> Objective:
    schedule = Schedule(tuple(plan.choices), closing_share=closing_share)
    return Progressive(apply(model, plan), Teaching(light_copy(model)), schedule)


WAYS: dict[str, Callable[[nn.Module, Plan], Objective]] = {
    "plain": plain,
    "supernet": shared,
    "closing": closing,
    "closed": closed,
}
TITLES = (
    "plain, images/s",
    "supernet, images/s",
    "progressive, lambda > 0, images/s",
    "progressive, lambda 0, images/s",
)


def measured(network: str, setting: Setting) -> Line:
    torch.manual_seed(0)
    model = df.load_model(network)
    chain = describe(model)
    plan = random_plan(chain, Random(0))
    classes = cast(int, model.num_classes)
    labels = torch.randint(classes, (setting.batch_size,))
    data = RandomImages((torch.randn(setting.batch_size, *chain.input_size), labels), setting.steps, classes)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    loads = []
    for number in range(setting.rounds):
        for way, make in WAYS.items():
            found[way].append(images_per_s(make(model, plan), data, setting))
        rates = ", ".join(f"{way} {found[way][-1]:.2f}" for way in WAYS)
        loads.append(os.getloadavg()[0])
        print(f"{network}, round {number + 1} of {setting.rounds}: {rates} images/s", flush=True)
    return Line(network, chain.input_size[-1], chain.counts(plan), found, loads)


def random_plan(chain: Chain, random: Random) -> Plan:
    """A third of the blocks that can be cut, each in one of its ways drawn evenly."""
    cuttable = [block for block in chain.blocks if len(block.choices) > 1]
    chosen = random.sample(cuttable, round(CUT_SHARE * len(cuttable)))
    return chain.plan({block.name: random.choice(block.choices[1:]) for block in chosen})


def images_per_s(objective: Objective, data: RandomImages, setting: Setting) -> float:
    """Of the second of two epochs."""
    settings = TrainSettings(epochs=2, batch_size=setting.batch_size, precision=Precision(amp=setting.amp))
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = CheckpointFile(Path(folder) / "state.safetensors", "throughput")
        world = alone(setting.device)
        _, second = fit(objective, data, settings, checkpoints, silent, world=world, seconds_between_saves=float("inf"))
    return second.images_per_s


def hours(recipe: Mapping[str, Any], line: Line) -> float:
    """What the epochs that a recipe asks for would take on ImageNet at the speeds of its network."""
    asked = made(TrainConfig, recipe)
    share = asked.closing_share
    seconds_per_image = (
        asked.finetune_epochs / line.rate("plain")
        + asked.supernet_epochs / line.rate("supernet")
        + asked.progressive_epochs * (share / line.rate("closing") + (1 - share) / line.rate("closed"))
    )
    return IMAGENET_IMAGES * seconds_per_image / 3600


def lines_of(setting: Setting, lines: Sequence[Line]) -> list[str]:
    """What is printed, and kept."""
    kind = setting.device.partition(":")[0]
    head = ["network", "blocks kept / cut", *TITLES]
    cut = [(line.blocks["keep"], sum(line.blocks.values()) - line.blocks["keep"]) for line in lines]
    rows = [
        [line.network, f"{kept} / {gone}", *(median_and_range(line.images_per_s[way]) for way in WAYS)]
        for line, (kept, gone) in zip(lines, cut, strict=True)
    ]
    told = (
        f"{setting.threads} thread(s), torch {setting.torch}, {setting.amp or 'float32'}, batches of "
        f"{setting.batch_size} images of {'/'.join(sorted({str(line.pixels) for line in lines}))} pixels. Median and "
        f"range of {setting.rounds} rounds, each of {setting.steps} steps that count after as many that do not."
    )
    busiest, cores = max(load for line in lines for load in line.loads), os.cpu_count() or 1
    if kind == "cpu" and busiest > cores:
        told += (
            f" Others computed on the machine too: its load average was up to {busiest:.1f} on {cores} cores. An idle "
            "one does more, and a part of what the ways differ by is chance."
        )
    head_of_hours = ["recipe", "epochs", "devices", f"hours, estimate from {kind.upper()} figures"]
    by_network = {line.network: line for line in lines}
    rows_of_hours = [
        [f"`{path.name}`", epochs_of(recipe), "1", figure(hours(recipe, by_network[recipe["model"]]))]
        for path, recipe in recipes()
        if recipe["model"] in by_network
    ]
    estimated = (
        f"An estimate: the epochs of a recipe over ImageNet's {IMAGENET_IMAGES:,} images at the medians above, on one "
        "such device. Nothing of it was run. The recipes ask for other batches than were timed here, and their plans "
        "follow from the budget."
    )
    title = f"# Training throughput on the {kind.upper()} {setting.hardware}"
    found = [title, "", *markdown_table(head, rows), "", told]
    if rows_of_hours:
        found += ["", *markdown_table(head_of_hours, rows_of_hours), "", estimated]
    return found


def recipes() -> list[tuple[Path, dict[str, Any]]]:
    return [(path, yaml.safe_load(path.read_text())) for path in sorted((ROOT / "recipes").glob("imagenet_*.yaml"))]


def epochs_of(recipe: Mapping[str, Any]) -> str:
    names = ("finetune", "supernet", "progressive")
    return ", ".join(f"{name} {recipe[f'{name}_epochs']}" for name in names if recipe.get(f"{name}_epochs"))


def figure(value: float) -> str:
    """With as many digits as an estimate is worth."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def setting_of(asked: argparse.Namespace) -> Setting:
    hardware = f"{processor_name()}, {os.cpu_count()} cores"
    if asked.device.startswith("cuda"):
        hardware = torch.cuda.get_device_name(asked.device)
    return Setting(
        device=asked.device,
        hardware=hardware,
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        batch_size=asked.batch_size,
        amp=asked.amp,
        rounds=asked.rounds,
        steps=asked.steps,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="those of UPDP have recipes")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--amp", choices=("float16", "bfloat16"), default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="that count, of each round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=("print",), default=None, help="measure nothing")
    asked = parser.parse_args()
    name = f"throughput_{asked.device}"
    if asked.only == "print":
        record = json.loads((RESULTS / f"{name}.json").read_text())
        setting, lines = Setting(**record["setting"]), [Line(**line) for line in record["lines"]]
    else:
        if asked.device == "cuda" and not torch.cuda.is_available():
            parser.error("torch sees no GPU here")
        torch.set_num_threads(asked.threads)
        setting = setting_of(asked)
        lines = [measured(network, setting) for network in asked.networks]
        record = {"setting": asdict(setting), "lines": [asdict(line) for line in lines]}
        write_record(name, record)
    publish(name, lines_of(setting, lines))


if __name__ == "__main__":
    main()
