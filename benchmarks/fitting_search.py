"""Plans found without training, by fitted layers, beside those that a trained supernet finds: how good they are after
the same training, and what finding them took.

    python benchmarks/fitting_search.py --output fitting-search-out --baselines progressive-out

The four small networks of `progressive.py` and the demo's DeiT, on ort-cpu, one image and one thread, at shares of
their latency; the first, 0.79, is a speed-up of 1.26. A table is measured, and plans are searched for in three ways,
each with as many trials and with finalists that are measured: by a supernet, trained as `width.py` and the demo train
theirs, among the choices that blocks have without being asked; by layers fitted on 1,024 images without labels, among
these and dropping; and by fits among these, narrower blocks, what blocks that change the shape of images merge to, and
dropping. Every winner gets the same progressive
training, and what it merges to is measured beside the uncut network.

Whatever is timed runs while nothing else of this does; in between, two processes of one thread each train. Typed again,
it goes on from where it was. The table goes to `benchmarks/results/`.
"""

import argparse
import dataclasses
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

import depthfinder as df
from latency.devices import Mode, open_device
from latency.export import export_onnx
from latency.hardware import processor_name
from latency.timing import time_interleaved
from profiles.files import write_whole
from profiles.store import load_profile
from pruner.choices.choice import FITS, FOLDS, OWN_WEIGHTS
from pruner.choices.plan import Plan
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import describe
from pruner.training.accuracy import accuracy
from pruner.training.objective import light_copy
from pruner.training.settings import Optimizing, TrainSettings
from search.errors import BudgetUnreachableError
from search.space import Space
from shared.baselines import DEMO, LEARNING_RATE, data_of, images_of, network_of
from shared.plans_within import Scored, best_plan, by_fits, scorer
from shared.processes import in_processes
from shared.small_networks import NETWORKS
from shared.spreads import mean_of_shares
from shared.starts import Job, trained
from shared.tables import markdown_table, publish
from shared.trained_plans import trained_plan

DEVICE: Final = "ort-cpu"
BUDGETS: Final = (0.79, 0.7, 0.6, 0.5)
TRIALS: Final = 60
TABLE_SECONDS: Final = 45.0
FINALIST_SECONDS: Final = 3.0
VERDICT_SECONDS: Final = 20.0
SUPERNET_SEED: Final = 21
# Epochs of a network's supernet, and of the progressive training of a plan: the demo's as `make demo` has them.
SUPERNET_EPOCHS: Final = {DEMO: 2} | dict.fromkeys(NETWORKS, 4)
EPOCHS: Final = {DEMO: 8} | dict.fromkeys(NETWORKS, 8)
RATES: Final = {DEMO: 5e-4} | dict.fromkeys(NETWORKS, LEARNING_RATE)
CONTINUED: Final = "continued"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("fitting-search-out"))
    parser.add_argument("--baselines", type=Path, default=Path("progressive-out"))
    parser.add_argument("--networks", nargs="+", default=list(SUPERNET_EPOCHS))
    parser.add_argument("--budgets", type=float, nargs="+", default=list(BUDGETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    asked = parser.parse_args()

    asked.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    began = time.monotonic()
    for network in asked.networks:
        for way in WAYS:
            for line in searched(network, way, asked.budgets, asked.output, asked.baselines):
                print(f"{network}, {way}, {line}, {time.monotonic() - began:.0f} s", flush=True)
    chosen = [
        Job(network, f"{way} at {budget:g}", seed)
        for network in asked.networks
        for way in WAYS
        for budget in asked.budgets
        if "plan" in plan_of(network, way, budget, asked.output)
        for seed in asked.seeds
    ]
    small = [network for network in asked.networks if network in NETWORKS]
    uncut = [Job(network, CONTINUED, seed) for network in small for seed in asked.seeds]
    for line in in_processes(functools.partial(carried_out, baselines=asked.baselines), chosen, asked.output, 2):
        print(f"{line}, {time.monotonic() - began:.0f} s", flush=True)
    for line in in_processes(trained, uncut, asked.baselines, 2):
        print(f"{line}, {time.monotonic() - began:.0f} s", flush=True)
    record = {
        "processor": processor_name(),
        "device": DEVICE,
        "torch": torch.__version__,
        "trials": TRIALS,
        "networks": {
            network: {
                "uncut": accuracy(network_of(network, asked.baselines), data_of(network).test_batches(batch_size=250)),
                "searches": [plan_of(network, way, budget, asked.output) for way in WAYS for budget in asked.budgets],
                "measured": measured(network, asked.budgets, asked.seeds[0], asked.output, asked.baselines),
            }
            for network in asked.networks
        },
        "jobs": [json.loads((asked.output / job.file).read_text()) for job in chosen]
        + [json.loads((asked.baselines / job.file).read_text()) for job in uncut],
    }
    publish("fitting_search", lines_of(record, asked.networks, asked.budgets), record)


def by_supernet(network: str, whole: nn.Module) -> Scored:
    """A supernet trained for this network, and the choices that are there without being asked for."""
    settings = TrainSettings(SUPERNET_EPOCHS[network], seed=SUPERNET_SEED, optimizing=Optimizing(lr=RATES[network]))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = CheckpointFile(Path(folder) / "supernet.safetensors", "supernet")
        evaluate = scorer(whole, data_of(network), settings, file)
    chain = describe(whole)
    return Scored(lambda limit: Space.of(chain, [limit]), evaluate, time.monotonic() - began)


WAYS: Final[Mapping[str, Callable[[str, nn.Module], Scored]]] = {
    "supernet": by_supernet,
    "fits": functools.partial(by_fits, choices=FITS),
    "fits and widths": functools.partial(by_fits, choices=(*OWN_WEIGHTS, *FOLDS)),
}
OTHERS: Final = tuple(WAYS)[1:]


def searched(network: str, way: str, budgets: Sequence[float], output: Path, baselines: Path) -> list[str]:
    """Leaves the plan of every budget in a file, with what was done before the plan was known."""
    whole, lines = network_of(network, baselines), []
    missing = [budget for budget in budgets if not _file(network, way, budget, output).exists()]
    if missing:
        costs = load_profile(_table(network, whole, way, output))
        scored = WAYS[way](network, whole)
    for budget in missing:
        began = time.monotonic()
        found: dict[str, Any] = {"network": network, "way": way, "budget": budget, "prepared_s": scored.seconds}
        try:
            winner = best_plan(
                whole,
                open_device(DEVICE, Mode(1)),
                costs,
                scored.evaluate,
                space_of=scored.space_of,
                share=budget,
                trials=TRIALS,
                seconds=FINALIST_SECONDS,
                tell=print,
            )
            plan = winner.candidate.plan
            found |= {"plan": plan.to_json(), "score": winner.candidate.score, "ratio": winner.verdicts[0].ratio}
        except BudgetUnreachableError as error:
            found |= {"unreachable": str(error)}
        found["searched_s"] = time.monotonic() - began
        write_whole(_file(network, way, budget, output), json.dumps(found) + "\n")
    for budget in budgets:
        found = plan_of(network, way, budget, output)
        what = Plan.from_json(found["plan"]).text if "plan" in found else found["unreachable"]
        lines.append(f"{budget:g}: {what} after {found['prepared_s']:.0f} and {found['searched_s']:.0f} s")
    return lines


def _table(network: str, whole: nn.Module, way: str, output: Path) -> Path:
    widths = way.endswith("widths")
    file = output / f"{network}-table{'-widths' if widths else ''}.json"
    if not file.exists():
        df.profile(whole, DEVICE, extra_choices=OWN_WEIGHTS if widths else FITS, max_seconds=TABLE_SECONDS).save(file)
    return file


def _file(network: str, way: str, budget: float, output: Path) -> Path:
    return output / f"{network}-{way.replace(' ', '-')}-{budget:g}.json"


def plan_of(network: str, way: str, budget: float, output: Path) -> Any:
    return json.loads(_file(network, way, budget, output).read_text())


def carried_out(job: Job, output: Path, baselines: Path) -> str:
    """Test accuracy after the progressive training of a plan; its merged network is left as ONNX."""
    file = output / job.file
    if not file.exists():
        began = time.process_time()
        way, budget = job.what.split(" at ")
        plan = Plan.from_json(plan_of(job.network, way, float(budget), output)["plan"])
        whole, data = network_of(job.network, baselines), data_of(job.network)
        settings = TrainSettings(EPOCHS[job.network], seed=job.seed, optimizing=Optimizing(lr=RATES[job.network]))
        merged, before = trained_plan(whole, plan, data, settings, images_of(data))
        export_onnx(merged, output / f"{file.stem}.onnx", _some_images(job.network))
        after = accuracy(merged, data.test_batches(batch_size=250))
        record = dataclasses.asdict(job) | {"before": before, "after": after}
        write_whole(file, json.dumps(record | {"core_seconds": time.process_time() - began}) + "\n")
    record = json.loads(file.read_text())
    return f"{job.network}, {job.what}, seed {job.seed}: {record['before']:.2%} {record['after']:.2%}"


def _some_images(network: str) -> Tensor:
    """Those on which ONNX Runtime and PyTorch are compared."""
    return next(iter(data_of(network).test_batches(batch_size=250)))[0]


def measured(network: str, budgets: Sequence[float], seed: int, output: Path, baselines: Path) -> Any:
    """The networks of the first seed beside the uncut one, in the same rounds."""
    file = output / f"{network}-measured.json"
    if not file.exists():
        whole, device = light_copy(network_of(network, baselines)), open_device(DEVICE, Mode(1))
        export_onnx(whole, output / f"{network}.onnx", _some_images(network))
        programs = {"baseline": device.load_file(output / f"{network}.onnx", 1)}
        for way in WAYS:
            for budget in budgets:
                merged = (output / Job(network, f"{way} at {budget:g}", seed).file).with_suffix(".onnx")
                if merged.exists():
                    programs[f"{way} at {budget:g}"] = device.load_file(merged, 1)
        timings = time_interleaved(programs, seconds=VERDICT_SECONDS, seed=1)
        found = {name: dataclasses.asdict(timings.ratio(name, "baseline")) for name in programs}
        write_whole(file, json.dumps(found) + "\n")
    return json.loads(file.read_text())


def lines_of(record: Mapping[str, Any], networks: Sequence[str], budgets: Sequence[float]) -> list[str]:
    """The table: a row for each network, budget and way."""
    heads = ("network", "budget", "by", "measured", "before training", "trained", "against (c)", "prepared, s")
    heads += ("searched, s",)
    seeds = len({job["seed"] for job in record["jobs"]})
    lines = [f"{record['processor']}, {record['device']}, batch 1, 1 thread; seeds of the training: {seeds}", ""]
    rows: list[list[str | None]] = []
    ahead: dict[str, list[float]] = {way: [] for way in OTHERS}
    shares: dict[str, list[float]] = {way: [] for way in OTHERS}
    for network in networks:
        about = record["networks"][network]
        whole = _of(record, network, CONTINUED, "after") or [about["uncut"]]
        uncut = f"{100 * about['uncut']:.2f}"
        rows.append([network, None, "the uncut network", "1", uncut, mean_of_shares(whole), None, None, None])
        for budget in budgets:
            means = {}
            searches = {one["way"]: one for one in about["searches"] if one["budget"] == budget}
            for way in WAYS:
                one, what = searches[way], f"{way} at {budget:g}"
                cells: list[str | None] = [network, f"{budget:g}", way]
                if "plan" not in one:
                    rows.append([*cells, "not reached", *[None] * 5])
                    continue
                found = _of(record, network, what, "after")
                means[way] = statistics.mean(found)
                ratio = about["measured"][what]
                cells += [f"{ratio['value']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"]
                cells += [mean_of_shares(_of(record, network, what, "before")), mean_of_shares(found)]
                cells += [f"{100 * (means[way] - statistics.mean(whole)):+.2f}"]
                cells += [f"{one[what]:.0f}" for what in ("prepared_s", "searched_s")]
                rows.append(cells)
            took = {way: one["prepared_s"] + one["searched_s"] for way, one in searches.items()}
            for way in OTHERS:
                if way in means and "supernet" in means:
                    ahead[way].append(100 * (means[way] - means["supernet"]))
                    shares[way].append(took[way] / took["supernet"])
    lines += markdown_table(heads, rows)
    for way in OTHERS:
        if ahead[way]:
            lines += [
                "",
                f"By {way} {statistics.mean(ahead[way]):+.2f} points beside the supernet in the mean of "
                f"{len(ahead[way])} places, from {min(ahead[way]):+.2f} to {max(ahead[way]):+.2f}; before training "
                f"{statistics.median(shares[way]):.2f} of its time in the median, from {min(shares[way]):.2f} to "
                f"{max(shares[way]):.2f}.",
            ]
    return lines


def _of(record: Mapping[str, Any], network: str, what: str, when: str) -> list[float]:
    return [job[when] for job in record["jobs"] if (job["network"], job["what"]) == (network, what)]


if __name__ == "__main__":
    main()
