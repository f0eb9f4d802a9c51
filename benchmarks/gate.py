"""Gates that learn with the supernet, against searching it and against solving exactly for scores of single cuts.

    python benchmarks/gate.py --output gate-out

On `deit_digits`, the network of the demo, at one budget by one latency table of ort-cpu. For every seed: a supernet is
trained as `depthfinder search` does it, and searched by 128 evaluations; the same supernet's scores of single cuts are
given to the exact solver; and gates of both forms are trained for the same steps, two passes each as a supernet's step
has, and handed to the exact solver. The importance that needs no data (DIMAP) gives one more plan. Then every plan is
trained progressively in the same way, with its seed, and judged on held-out scenes. Two processes of one thread each
work on it; typed again, it goes on from where it was. The table goes to `benchmarks/results/`.
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

import depthfinder as df
from latency.hardware import processor_name
from profiles.files import write_whole
from profiles.store import load_profile
from pruner.choices.choice import MERGE
from pruner.choices.plan import Plan
from pruner.criteria.dimap import Dimap
from pruner.data.digits import DigitScenes
from pruner.gates.gated import GatedSupernet
from pruner.gates.latency_gates import GATE_FORMS
from pruner.gates.objective import Annealing, GateObjective
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import Supernet
from pruner.progress import silent
from pruner.scoring.evaluator import Evaluator
from pruner.training.accuracy import accuracy
from pruner.training.loop import fit
from pruner.training.objective import Objective, Teaching, light_copy
from pruner.training.progressive import Progressive, calibrate_norms, finalize
from pruner.training.settings import TrainSettings
from pruner.training.supernet import SupernetObjective
from search.candidate import Candidate
from search.gate_costs import gate_costs
from search.limits import LatencyLimit
from search.samplers import ByGains, BySingleScores, known_sampler
from search.samplers.sampler import Sampler
from search.search import Stop, search
from search.space import Space
from search.storage.ledger import Ledger, in_memory
from shared.processes import processes_of_one_thread
from shared.tables import markdown_table, publish

DATA: Final = DigitScenes()
TRIALS: Final = 128
SOURCES: Final = ("supernet", *GATE_FORMS, "dimap")
"""What a plan is found by: a trained supernet gives two, gates and an importance one each."""
SEARCHED: Final = ("optuna", "scores")
ARMS: Final[Mapping[str, str]] = {
    "optuna": "search of the supernet (the default)",
    "scores": "exact, by scores of single cuts",
    "knapsack": "gate, knapsack form",
    "shift": "gate, shift form",
    "dimap": "exact, by DIMAP's importance: no data, no training",
}


@dataclass(frozen=True)
class Study:
    """What all jobs go by."""

    output: Path
    budget: float
    supernet_epochs: int
    epochs: int

    def space(self, model: nn.Module) -> Space:
        table = load_profile(self.output / "table.json")
        bound_ms = self.budget * table.latency_ms(Plan(table.model))
        return Space.of(df.describe(model), [LatencyLimit(table, bound_ms)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("gate-out"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--budget", type=float, default=0.5, help="share of the baseline's latency")
    parser.add_argument("--supernet-epochs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()

    began = time.monotonic()
    asked.output.mkdir(parents=True, exist_ok=True)
    study = Study(asked.output, asked.budget, asked.supernet_epochs, asked.epochs)
    torch.set_num_threads(1)
    model = df.load_model("deit_digits", pretrained=True)
    if not (asked.output / "table.json").exists():
        df.profile(model, "ort-cpu", max_seconds=60).save(asked.output / "table.json")
    with processes_of_one_thread(asked.processes) as pool:
        sources = [
            source for source in SOURCES if {*asked.arms} & {source, *(SEARCHED if source == "supernet" else ())}
        ]
        for done in pool.map(found, *zip(*((study, s, seed) for seed in asked.seeds for s in sources), strict=True)):
            print(f"{done}, {time.monotonic() - began:.0f} s", flush=True)
        jobs = [(study, arm, seed) for seed in asked.seeds for arm in asked.arms]
        for done in pool.map(judged, *zip(*jobs, strict=True)):
            print(f"{done}, {time.monotonic() - began:.0f} s", flush=True)
    record = {
        "processor": processor_name(),
        "study": {k: v for k, v in dataclasses.asdict(study).items() if k != "output"},
        "baseline": accuracy(model, DATA.test_batches(batch_size=250)),
        "plans": [
            json.loads((study.output / f"{kind}-{arm}-{seed}.json").read_text())
            for arm in asked.arms
            for seed in asked.seeds
            for kind in ("plan", "accuracy")
        ],
    }
    publish("gate", table_of(record, asked.arms, asked.seeds), record)


def found(study: Study, source: str, seed: int) -> str:
    """Leaves the plan, or the two plans, that a source comes to."""
    arms = SEARCHED if source == "supernet" else (source,)
    if all((study.output / f"plan-{arm}-{seed}.json").exists() for arm in arms):
        return f"{source} {seed}: done before"
    model = df.load_model("deit_digits", pretrained=True)
    space, began = study.space(model), time.process_time()
    network, samplers = trained(study, source, seed, model, space)
    spent = time.process_time() - began
    evaluator = Evaluator(network.eval(), list(DATA.calibration_batches(batch_size=100)))
    for arm, sampler in samplers.items():
        began = time.process_time()
        trials = max(TRIALS, sampler.opening(space, TRIALS) + 1)
        result = search(
            space,
            evaluate=lambda plans, bar: evaluator(plans, bar),
            ledger=Ledger(in_memory(), arm, {}, patience_s=0),
            sampler=sampler,
            stop=Stop(trials),
            seed=seed,
        )
        keep(study, arm, seed, result.best, space, spent, time.process_time() - began, result.num_evaluations)
    return f"{source} {seed}: {spent:.0f} core-seconds of training"


def trained(
    study: Study, source: str, seed: int, model: nn.Module, space: Space
) -> tuple[Supernet, Mapping[str, Sampler]]:
    """The trained network, and what proposes plans by it: arm -> sampler."""
    if source == "dimap":
        network = df.supernet(model)
        return network, {source: ByGains({cut: -lost for cut, lost in Dimap().harm_of_cuts(network).items()}, source)}
    annealing = Annealing(source) if source in GATE_FORMS else None
    network = df.supernet(model) if annealing is None else GatedSupernet(model, gate_costs(space))
    settings = TrainSettings(study.supernet_epochs, seed=seed)
    merged = space.chain.plan({block.name: MERGE for block in space.chain.blocks if MERGE in block.choices})
    calibrate_norms(network, merged, DATA, settings)
    objective: Objective
    if annealing is None:
        objective = SupernetObjective(network)
    else:
        assert isinstance(network, GatedSupernet)
        network.pace(settings.optimizing.lr, settings.epochs * DATA.steps_per_epoch(settings.batch_size))
        objective = GateObjective(network, annealing)
    fit(objective, DATA, settings, CheckpointFile(study.output / f"{source}-{seed}.safetensors", source), silent)
    if annealing is None:
        return network, {"optuna": known_sampler("prefix"), "scores": BySingleScores()}
    assert isinstance(network, GatedSupernet)
    return network, {source: ByGains(network.gains(GATE_FORMS[source], annealing.coldest), source)}


def keep(
    study: Study, arm: str, seed: int, best: Candidate, space: Space, training: float, searching: float, plans: int
) -> None:
    record = {
        "arm": arm,
        "seed": seed,
        "choices": dict(best.plan.choices),
        "score": best.score,
        "of_latency": best.latency_ms / space.limits[0].amount(space.uncut),
        "training_core_seconds": training,
        "searching_core_seconds": searching,
        "evaluations": plans,
    }
    write_whole(study.output / f"plan-{arm}-{seed}.json", json.dumps(record) + "\n")


def judged(study: Study, arm: str, seed: int) -> str:
    """Leaves the test accuracy of the arm's plan after its progressive training."""
    file = study.output / f"accuracy-{arm}-{seed}.json"
    if not file.exists():
        model = df.load_model("deit_digits", pretrained=True)
        choices = json.loads((study.output / f"plan-{arm}-{seed}.json").read_text())["choices"]
        plan, settings = Plan(df.describe(model).model, choices), TrainSettings(study.epochs, seed=seed)
        cut = df.apply(model, plan)
        calibrate_norms(cut, plan, DATA, settings)
        objective = Progressive(cut, Teaching(light_copy(model)))
        with tempfile.TemporaryDirectory() as folder:
            fit(objective, DATA, settings, CheckpointFile(Path(folder) / "state.safetensors", "gate"), silent)
        finalize(cut, DATA, settings)
        reached = accuracy(cut, DATA.test_batches(batch_size=250))
        write_whole(file, json.dumps({"arm": arm, "seed": seed, "accuracy": reached}) + "\n")
    return f"{arm} {seed}: {json.loads(file.read_text())['accuracy']:.2%}"


def table_of(record: Mapping[str, Any], arms: Sequence[str], seeds: Sequence[int]) -> list[str]:
    def mean(arm: str, name: str, scale: float = 1.0, digits: int = 2, spread: bool = True) -> str:
        values = [scale * one[name] for one in record["plans"] if one["arm"] == arm and name in one]
        more = f" ± {statistics.stdev(values):.{digits}f}" if spread and len(values) > 1 else ""
        return f"{statistics.mean(values):.{digits}f}{more}"

    def most(arm: str, name: str) -> str:
        # A training that was interrupted counts what it took since.
        return f"{max(one[name] for one in record['plans'] if one['arm'] == arm and name in one):.0f}"

    def cuts(arm: str) -> str:
        return ", ".join(str(len(one["choices"])) for one in record["plans"] if one["arm"] == arm and "choices" in one)

    head = (
        "found by",
        "blocks cut",
        "of the latency, by the table",
        "supernet accuracy, %",
        "test accuracy, trained, %",
        "training, core-s (most)",
        "finding, core-s (most)",
        "plans evaluated",
    )
    rows = [
        (
            ARMS[arm],
            cuts(arm),
            mean(arm, "of_latency", digits=3, spread=False),
            mean(arm, "score", 100),
            mean(arm, "accuracy", 100),
            most(arm, "training_core_seconds"),
            most(arm, "searching_core_seconds"),
            mean(arm, "evaluations", digits=0, spread=False),
        )
        for arm in arms
    ]
    study = record["study"]
    return [
        *markdown_table(head, rows),
        "",
        f"`deit_digits`, {100 * record['baseline']:.2f} % uncut, at {study['budget']:g} of its latency on ort-cpu "
        f"({record['processor']}); {len(seeds)} seeds, mean ± standard deviation; {study['supernet_epochs']} epochs of "
        f"the supernet or the gates and {study['epochs']} progressive ones of {DATA.train_images} scenes; "
        f"{DATA.calibration_images} scenes score, {DATA.test_images} others count. A supernet accuracy is that of the "
        "network that the plan was found with: the gates' was trained around its own plan alone.",
    ]


if __name__ == "__main__":
    main()
