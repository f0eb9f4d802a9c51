"""Does closing gates slowly keep more of a network than removing activations at once, and which schedule keeps most?

    python benchmarks/progressive.py --output progressive-out

Four small networks, one of each family, are trained on scenes of two digits, to tell the larger. Then each is cut
deeply and trained on 1,024 scenes that stay the same, as somebody would who has the network and few images: with its
gates closing by several schedules, and in the other ways there are, for the same epochs and at the same learning rate,
by three seeds. The scenes that count are made of digits that no training saw; plans, epochs and learning rate were
chosen by another seed than these. At last the merged networks are timed beside their baselines. Two processes of one
thread each work on it; typed again, it goes on from where it was. The table goes to `benchmarks/results/`.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from latency.devices import Mode, open_device
from latency.timing import time_interleaved
from profiles.files import write_whole
from pruner.choices.plan import Plan
from pruner.models.checkpoint import CheckpointFile
from pruner.network.image_size import input_size_of
from pruner.network.surgery import apply, describe, merge
from pruner.progress import silent
from pruner.scoring.evaluator import Evaluator
from pruner.training.loop import fit
from pruner.training.objective import Objective, Supervised, Teaching, light_copy
from pruner.training.progressive import Progressive, calibrate_norms, finalize
from pruner.training.schedules import Schedule, from_the_end, least_harm_first, single_cuts
from pruner.training.settings import Optimizing, TrainSettings
from shared.baselines import EPOCHS, FEW, LEARNING_RATE, baseline, test_accuracy
from shared.processes import processes_of_one_thread, spent
from shared.small_networks import NETWORKS
from shared.spreads import mean_with_deviation
from shared.tables import markdown_table, publish

# How gates close: the curve, and the share of the training after which they are closed.
SCHEDULES: Final[Mapping[str, tuple[str, float]]] = {
    "linear, 0.5": ("linear", 0.5),
    "linear, 0.3": ("linear", 0.3),
    "cosine, 0.5": ("cosine", 0.5),
    "blocks, 0.5": ("blocks", 0.5),
    "score, 0.5": ("score", 0.5),
}
WAYS: Final = {
    "continued": "(c) the uncut network, trained on",
    "direct": "(a) cut at once, labels alone",
    "direct, distilled": "(a) cut at once, labels and baseline",
    "scratch": "(b) the same shape from random weights",
    "dropped": "(d) the same blocks dropped, labels and baseline",
}


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: a family, a way or a schedule, a seed."""

    family: str
    arm: str
    seed: int

    @property
    def file(self) -> str:
        return f"{self.family}-{self.arm.replace(', ', '-')}-{self.seed}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("progressive-out"))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()

    began = time.monotonic()
    arguments.output.mkdir(parents=True, exist_ok=True)
    jobs = [
        Job(family, arm, seed)
        for family in arguments.networks
        for seed in arguments.seeds
        for arm in (*SCHEDULES, *WAYS)
    ]
    with processes_of_one_thread(arguments.processes) as pool:
        waiting = {pool.submit(prepared, family, arguments.output) for family in arguments.networks}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for line in (one.result() for one in done):
                print(f"{line}, {time.monotonic() - began:.0f} s", flush=True)
                # A baseline: what goes on from it may begin.
                waiting |= {pool.submit(carried_out, job, arguments.output) for job in jobs if job.family == line}
    torch.set_num_threads(1)
    record = {
        "jobs": [json.loads((arguments.output / job.file).read_text()) for job in jobs],
        "speed_ups": {family: speed_up(family, arguments.output) for family in arguments.networks},
        "baselines": {family: test_accuracy(baseline(family, arguments.output)) for family in arguments.networks},
        "seconds": spent(arguments.output, time.monotonic() - began),
    }
    lines = [*tables(record, arguments.networks), "", note(arguments.seeds, record["seconds"])]
    publish("progressive", lines, record)


def prepared(family: str, output: Path) -> str:
    """Trains the baseline of a family, if that was not done before."""
    baseline(family, output)
    return family


def carried_out(job: Job, output: Path) -> str:
    """One line about a job, which leaves its figures in a file."""
    file = output / job.file
    if not file.exists():
        began = time.process_time()
        whole = baseline(job.family, output)
        found = trained(job, whole)
        record = dataclasses.asdict(job) | {"accuracy": found, "core_seconds": time.process_time() - began}
        write_whole(file, json.dumps(record) + "\n")
    record = json.loads(file.read_text())
    return f"{job.family} {job.arm} {job.seed}: {record['accuracy']:.2%} in {record['core_seconds']:.0f} core-seconds"


def trained(job: Job, whole: nn.Module) -> float:
    """Test accuracy after one training."""
    settings = TrainSettings(EPOCHS, seed=job.seed, optimizing=Optimizing(lr=LEARNING_RATE))
    network = NETWORKS[job.family]
    chain = describe(whole)
    plan = network.plan_of_drops(chain) if job.arm == "dropped" else network.plan(chain)
    source = network.untrained(job.seed) if job.arm == "scratch" else whole
    cut = apply(source, Plan(chain.model) if job.arm == "continued" else plan)
    if job.arm not in ("continued", "scratch"):
        calibrate_norms(cut, plan, FEW, settings)
    cut.set_lambda(0.0)
    objective: Objective
    if job.arm in SCHEDULES:
        objective = Progressive(cut, Teaching(light_copy(whole)), schedule(job.arm, whole, plan, settings))
    else:
        distilled = job.arm in ("direct, distilled", "dropped")
        objective = Supervised(cut, Teaching(light_copy(whole)) if distilled else None)
    with tempfile.TemporaryDirectory() as folder:
        fit(objective, FEW, settings, CheckpointFile(Path(folder) / "state.safetensors", "study"), silent)
    finalize(cut, FEW, settings)
    return test_accuracy(cut)


def schedule(name: str, whole: nn.Module, plan: Plan, settings: TrainSettings) -> Schedule:
    """By score: the accuracy of each cut alone on calibration scenes, without training."""
    curve, share = SCHEDULES[name]
    order = from_the_end(describe(whole), plan)
    if curve == "score":
        alone = apply(whole, plan)
        calibrate_norms(alone, plan, FEW, settings)
        scores = Evaluator(alone, list(FEW.calibration_batches(batch_size=100)))(single_cuts(plan))
        order = least_harm_first(plan, {name: one.value for name, one in zip(plan.choices, scores, strict=True)})
    return Schedule(order, "blocks" if curve == "score" else curve, share)


def speed_up(family: str, output: Path) -> dict[str, float]:
    """Of the merged network over the baseline with its BatchNorms folded, on ort-cpu, one image, one thread."""
    whole = baseline(family, output)
    device = open_device("ort-cpu", Mode(1))
    networks = {}
    for name, plan in (("baseline", Plan(describe(whole).model)), ("merged", NETWORKS[family].plan(describe(whole)))):
        cut = apply(whole, plan)
        cut.set_lambda(0.0)
        networks[name] = merge(cut.eval())
    images = torch.rand(1, *input_size_of(whole), generator=torch.Generator().manual_seed(0))
    programs = {name: device.load(network, images) for name, network in networks.items()}
    ratio = time_interleaved(programs, seconds=20, seed=0).ratio("baseline", "merged")
    return {"value": ratio.value, "low": ratio.low, "high": ratio.high}


def tables(record: dict[str, Any], families: Sequence[str]) -> list[str]:
    def cell(family: str, arm: str) -> str:
        found = [100 * job["accuracy"] for job in record["jobs"] if (job["family"], job["arm"]) == (family, arm)]
        return mean_with_deviation(found)

    def row(what: str, of: Callable[[str], str]) -> list[str]:
        return [what, *(of(family) for family in families)]

    speed_ups = record["speed_ups"]
    cuts = {family: NETWORKS[family].choices for family in families}
    rows = [
        row("blocks cut", lambda family: f"{len(cuts[family])}: {', '.join(sorted(set(cuts[family].values())))}"),
        row("the network as it was", lambda family: f"{100 * record['baselines'][family]:.2f}"),
        row("speed-up (95 % interval)", lambda f: "{value:.2f} ({low:.2f} to {high:.2f})".format(**speed_ups[f])),
    ]
    rows += [row(text, lambda family, arm=arm: cell(family, arm)) for arm, text in WAYS.items()]
    rows += [row(f"progressive: {arm}", lambda family, arm=arm: cell(family, arm)) for arm in SCHEDULES]
    return markdown_table(("accuracy, % (mean ± standard deviation of the seeds)", *families), rows)


def note(seeds: Sequence[int], seconds: float) -> str:
    return (
        f"{len(seeds)} seeds, {EPOCHS} epochs over {FEW.train_images} scenes, {FEW.test_images} test scenes; "
        f"the whole study took {seconds / 60:.0f} minutes of two cores of a shared machine."
    )


if __name__ == "__main__":
    main()
