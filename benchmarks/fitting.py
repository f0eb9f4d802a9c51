"""Layers that are fitted in the places of blocks: how good a start they are, without training and before one.

    python benchmarks/fitting.py --output progressive-out --only untrained

Four small networks, one of each family, trained to tell the larger of two digits (`shared/small_networks.py`; the
baselines are those of `progressive.py`, and are trained here where its folder has none), and the demo's DeiT.
`untrained` draws plans that cut a third, half and two thirds of the blocks that a layer can stand in for, and compares
what is left without any training when these are dropped, folded (UPDP's merge, BatchNorms calibrated), or have a layer
of the same cost fitted in their place: at once, from the uncut network, or in sequence, each for the inputs that the
cuts before it leave it; `ffns` does so with half of the demo's FFNs. `trained` takes the plans of the small networks
through the training of `progressive.py`, from the folded start and from the fitted one, and with each layer learning
its block's output (`shared/starts.py`). `large` types `depthfinder search --without-training` for two networks at 224
pixels with random weights, on 512 images, and says what it takes. Typed again, it goes on from where it was. Tables go
to `benchmarks/results/`.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from profiles.files import write_whole
from pruner.choices.choice import DROP, FIT, FIT_3X3, FIT_SEPARABLE, FITS, MERGE, SEPARABLE, SHRINK
from pruner.data.digits import DigitScenes
from pruner.data.images import ImageData
from pruner.fitting.at_once import fit_at_once
from pruner.fitting.fits import Key
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.fitting.spans import followers_of, span_of
from pruner.network.surgery import Cut, OpenNetwork, apply
from pruner.training.accuracy import accuracy
from pruner.training.progressive import calibrate_norms, finalize
from pruner.training.settings import TrainSettings
from shared.baselines import DEMO, IMAGES, data_of, images_of, network_of
from shared.processes import in_processes
from shared.small_networks import NETWORKS
from shared.spreads import mean_with_deviation
from shared.starts import STARTS, Job, trained
from shared.tables import markdown_table, publish

SHARES: Final = {"a third": 1 / 3, "half": 1 / 2, "two thirds": 2 / 3}
FFNS: Final = "half of the FFNs"
PLANS: Final = 2
LARGE: Final = ("deit_tiny_patch16_224", "resnet50")
LARGE_TRIALS: Final = 32
# The fit, and the folding that costs the same.
FITTED: Final = {"vit": FIT, DEMO: FIT, "convnext": FIT_SEPARABLE, "mobilenet": FIT_3X3, "resnet": FIT_3X3}
FOLDED: Final = {"vit": MERGE, DEMO: MERGE, "convnext": SEPARABLE, "mobilenet": MERGE, "resnet": SHRINK}
WAYS: Final = ("dropped", "folded", "fitted at once", "fitted in sequence")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("progressive-out"))
    parser.add_argument("--networks", nargs="+", default=[*FITTED, *LARGE])
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()

    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        part = PARTS[name]
        networks = [network for network in arguments.networks if network in part.networks]
        seeds = arguments.seeds[:1] if name == "large" else arguments.seeds
        jobs = [Job(network, what, seed) for network in networks for what in part.row_keys for seed in seeds]
        began = time.monotonic()
        for line in in_processes(part.work, jobs, arguments.output, 1 if name == "large" else arguments.processes):
            print(f"{line}, {time.monotonic() - began:.0f} s", flush=True)
        records = [json.loads((arguments.output / job.file).read_text()) for job in jobs]
        publish(f"fitting_{name}", part.table(records, networks), records)


def untrained(job: Job, output: Path) -> str:
    """The accuracies of a job's plans in every way."""
    file = output / job.file
    if not file.exists():
        model, data = network_of(job.network, output), data_of(job.network)
        network = OpenNetwork(model, FITS).eval()
        random = Random(f"{job.what} {job.seed}")
        names = [name for name, site in network.sites.items() if site.may_be_fitted]
        if job.what == FFNS:
            names = [name for name in names if name.endswith(".mlp")]
        count = round(SHARES.get(job.what, 1 / 2) * len(names))
        chosen = [sorted(random.sample(names, count)) for _ in range(PLANS)]
        found = [{way: in_way(way, job.network, model, network, one, data) for way in WAYS} for one in chosen]
        record = asdict(job) | {
            "blocks": chosen,
            "accuracies": found,
            "uncut": accuracy(model, data.test_batches(batch_size=250)),
        }
        write_whole(file, json.dumps(record) + "\n")
    record = json.loads(file.read_text())
    return f"{job.network}, {job.what}, seed {job.seed}: {record['accuracies']}"


def in_way(
    way: str, name: str, model: nn.Module, network: OpenNetwork, blocks: Sequence[str], data: ImageData
) -> float:
    """Accuracy on the test images."""
    fit = FITTED[name] in FITS and way.startswith("fitted")
    folds = {block: FOLDED[name] if FOLDED[name] in network.sites[block].block.choices else DROP for block in blocks}
    choices = {"dropped": dict.fromkeys(blocks, DROP), "folded": folds}.get(way, dict.fromkeys(blocks, FITTED[name]))
    plan = network.chain.plan(choices)
    cut = apply(model, plan).eval()
    settings = TrainSettings(0, seed=0)
    if way == "folded":
        calibrate_norms(cut, plan, data, settings)
        finalize(cut, data, settings)
    cut.set_lambda(0.0)
    if fit:
        (at_once if way == "fitted at once" else fit_in_sequence)(cut, images_of(data))
    return accuracy(cut, data.test_batches(batch_size=250))


def at_once(cut: Cut, images: Sequence[Tensor]) -> None:
    """The layers of the plan's blocks, fitted to the uncut network and put into `cut`."""
    followers = followers_of(cut)
    fits = fit_at_once(cut, {b: [c] for b, c in cut.plan.choices.items() if c in FITS}, images, IMAGES)
    for block, choice in cut.plan.choices.items():
        if choice in FITS:
            fits[Key(block, choice, span_of(cut.plan, block, followers))].put_into(cut.sites[block].layer(choice))


def untrained_table(records: Sequence[Mapping[str, Any]], networks: Sequence[str]) -> list[str]:
    heads = ("network", "blocks cut", "uncut", *WAYS, "better of the fits ahead of both others")
    rows, wins, total = [], 0, 0
    for network in networks:
        for share in dict.fromkeys(record["what"] for record in records):
            of = [record for record in records if (record["network"], record["what"]) == (network, share)]
            plans = [plan for record in of for plan in record["accuracies"]]
            cells = [mean_with_deviation([100 * plan[way] for plan in plans], digits=1) for way in WAYS]
            won = [max(plan[WAYS[2]], plan[WAYS[3]]) > max(plan[WAYS[0]], plan[WAYS[1]]) for plan in plans]
            wins, total = wins + sum(won), total + len(won)
            blocks = len(of[0]["blocks"][0])
            uncut = f"{100 * of[0]['uncut']:.2f}"
            rows.append((network, f"{blocks} ({share})", uncut, *cells, f"{sum(won)} of {len(won)}"))
    return [*markdown_table(heads, rows), "", f"Fits ahead of dropping and of folding in {wins} of {total} plans."]


def trained_table(records: Sequence[Mapping[str, Any]], networks: Sequence[str]) -> list[str]:
    def cell(network: str, what: str, when: str) -> str:
        found = [100 * one[when] for one in records if (one["network"], one["what"]) == (network, what)]
        return mean_with_deviation(found)

    before = (("folded", "folded, before the training"), ("fitted", "fitted, before the training"))
    rows = [(text, *(cell(network, what, "after") for network in networks)) for what, text in STARTS.items()]
    rows += [(text, *(cell(network, what, "before") for network in networks)) for what, text in before]
    return markdown_table(("accuracy, %", *networks), rows)


def large(job: Job, output: Path) -> str:
    """What the whole command takes: minutes by stage, and the most memory that it held."""
    file = output / job.file
    if not file.exists():
        folder = scenes_as_files(output / "scenes-224")
        words = (
            f"search --without-training --model {job.network} --img-size 224 --data-dir {folder} --budget-ratio 0.7 "
        )
        words += f"--fit-images 512 --n-trials {LARGE_TRIALS} --seed {job.seed} "
        words += f"--output {output} --experiment large-{job.network}"
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "depthfinder", *words.split()], check=True, stdout=sys.stderr)
        minutes = (time.monotonic() - began) / 60
        found = output / f"large-{job.network}"
        record = asdict(job) | {
            "minutes": minutes,
            "peak_gb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6,
            "stages_s": {name: one["seconds"] for name, one in json.loads((found / "state.json").read_text()).items()},
            "evaluated": len(json.loads((found / "search.json").read_text())["evaluated"]),
            "ratio": json.loads((found / "result.json").read_text())["measured_ratio"]["value"],
        }
        write_whole(file, json.dumps(record) + "\n")
    record = json.loads(file.read_text())
    return f"{job.network}: {record['minutes']:.1f} minutes, {record['peak_gb']:.1f} GB at the most"


def scenes_as_files(folder: Path) -> Path:
    """Digit scenes as PNG files of 224 pixels, a folder for each class: 640 to train on, 64 held out."""
    if not folder.exists():
        data = DigitScenes()
        for split, batches, count in (
            ("train", data.train_batches(epoch=0, batch_size=64, seed=0), 640),
            ("val", data.test_batches(batch_size=64), 64),
        ):
            parts = [next(batches) for _ in range(count // 64)]
            images, labels = (torch.cat(some) for some in zip(*parts, strict=True))
            large = functional.interpolate(images, size=(224, 224), mode="bilinear")
            pixels = (255 * (0.5 * large + 0.5)).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
            for number, (one, label) in enumerate(zip(pixels, labels.tolist(), strict=True)):
                place = folder / split / str(label) / f"{number}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(one).save(place)
    return folder


def large_table(records: Sequence[Mapping[str, Any]], networks: Sequence[str]) -> list[str]:
    stages = ("profile", "fits", "search", "train", "measure")
    heads = ("network", "minutes", "GB at the most", "plans evaluated", *(f"{stage}, s" for stage in stages), "ratio")
    rows = []
    for one in sorted(records, key=lambda one: networks.index(one["network"])):
        seconds = [f"{one['stages_s'][stage]:.0f}" for stage in stages]
        cells = [one["network"], f"{one['minutes']:.1f}", f"{one['peak_gb']:.1f}", str(one["evaluated"]), *seconds]
        rows.append([*cells, f"{one['ratio']:.3f}"])
    return markdown_table(heads, rows)


@dataclass(frozen=True)
class Part:
    """One table: of which networks, of what, and how."""

    networks: tuple[str, ...]
    row_keys: tuple[str, ...]
    work: Callable[[Job, Path], str]
    table: Callable[[Sequence[Mapping[str, Any]], Sequence[str]], list[str]]


PARTS: Final = {
    "untrained": Part(tuple(FITTED), tuple(SHARES), untrained, untrained_table),
    "ffns": Part((DEMO,), (FFNS,), untrained, untrained_table),
    "trained": Part(tuple(NETWORKS), tuple(STARTS), trained, trained_table),
    "large": Part(LARGE, ("large",), large, large_table),
}


if __name__ == "__main__":
    main()
