"""Narrower, less deep, or both: which loses least accuracy at the same measured latency?

    python benchmarks/width.py --output width-out --baselines progressive-out

The four small networks that `benchmarks/progressive.py` trained are brought to shares of their latency on ort-cpu, one
image and one thread. Width: torch-pruning's isomorphic pruning (`width_study/narrowing.py`), at a ratio found by
bisection on what is measured; the same with its layers fitted anew (`width_study/refitting.py`). Depth: a search by one
table and one supernet (`shared/plans_within.py`) among what blocks merge to and dropping. All together: the same with
narrower blocks, by a supernet of all these and by fits; the plan by fits is taken, unless the other is better after one
epoch by more than the standard error of the scenes that tell. All are trained on the same 1,024 scenes, at the same
learning rate and with the same teacher, and width for as many epochs more as a supernet took. The scenes that count are
made of digits that nothing before saw.

Whatever is measured is measured while nothing else of this runs; in between, two processes of one thread each train.
Typed again, it goes on from where it was. The table goes to `benchmarks/results/`.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from latency.devices import Mode, open_device
from latency.export import export_onnx
from latency.hardware import processor_name
from latency.timing import time_interleaved
from pruner.choices.plan import Plan
from pruner.training.objective import light_copy
from shared.baselines import FEW, test_accuracy
from shared.processes import processes_of_one_thread, spent
from shared.tables import RESULTS, publish
from width_study.asked import DEVICE, Asked, Job, kept_in, learned, some_images
from width_study.choices import (
    SCORED_BY,
    arms_of,
    chosen_for,
    cut_for,
    decided,
    gradients_for,
    narrow,
    narrow_enough,
    searched,
    settled,
    supernet_of,
    table,
    tried,
    tried_out,
    tuned,
)
from width_study.narrowing import WAYS, Way
from width_study.refitting import refitted
from width_study.table import ARMS, TOGETHER, WIDTH, lines_of


def main() -> None:
    asked, processes, results = _asked()
    began = time.monotonic()
    asked.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    places = [(family, budget) for family in asked.networks for budget in asked.budgets]
    for family in asked.networks:
        export_onnx(light_copy(learned(family, asked.baselines)), asked.output / f"{family}.onnx", some_images())
        for arm in SCORED_BY:
            table(family, arm, asked)
        _tell(f"{family}: tables", began)
        for way in WAYS[family]:
            _tell(f"{family} {way.text}: parts {narrow_enough(family, way, asked)}", began)
    tryouts = [(tried, (*place, way, asked)) for place in places for way in WAYS[place[0]]]
    supernets = [(supernet_of, (family, arm, asked)) for family in asked.networks for arm in SCORED_BY]
    _share_out(supernets + tryouts, processes, began)
    for place in places:
        _tell(f"{place} width: {settled(*place, asked)}", began)
        for arm, by in ((arm, by) for arm, ways in SCORED_BY.items() for by in ways):
            _tell(f"{place} {arm}, {by}: {searched(*place, arm, by, asked)}", began)
    _share_out([(tried_out, (*place, by, asked)) for place in places for by in SCORED_BY[TOGETHER]], processes, began)
    for place in places:
        for arm in SCORED_BY:
            decided(*place, arm, asked)
    jobs = [Job(*place, arm, seed) for seed in asked.seeds for place in places for arm in arms_of(*place, asked)]
    _share_out([(carried_out, (job, asked)) for job in jobs], processes, began)
    record = {
        "asked": {"epochs": asked.epochs, "supernet_epochs": asked.supernet_epochs, "seeds": asked.seeds}
        | {"arms": asked.arms}
        | {"tryout_epochs": asked.tryout_epochs, "processor": processor_name(), "device": DEVICE},
        "places": [place_record(*place, asked) for place in places],
        "jobs": [json.loads((asked.output / f"{job.name}.json").read_text()) for job in jobs],
        "baselines": {family: described(light_copy(learned(family, asked.baselines))) for family in asked.networks},
        "seconds": spent(asked.output, time.monotonic() - began),
    }
    publish("width", lines_of(record), record, results)


def _asked() -> tuple[Asked, int, Path]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("width-out"))
    parser.add_argument("--baselines", type=Path, default=Path("progressive-out"))
    parser.add_argument("--networks", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.8, 0.7, 0.6, 0.5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--supernet-epochs", type=int, default=4)
    parser.add_argument("--tryout-epochs", type=int, default=1)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--table-seconds", type=float, default=45.0)
    parser.add_argument("--quick-seconds", type=float, default=1.0)
    parser.add_argument("--long-seconds", type=float, default=8.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the table")
    typed = vars(parser.parse_args())
    processes, results = typed.pop("processes"), typed.pop("results")
    asked = Asked(**{name: tuple(what) if isinstance(what, list) else what for name, what in typed.items()})
    return asked, processes, results


def _tell(text: str, began: float) -> None:
    print(f"{text}, {time.monotonic() - began:.0f} s", flush=True)


def _share_out(tasks: Sequence[tuple[Callable[..., str], tuple[Any, ...]]], processes: int, began: float) -> None:
    """Carries out the tasks; when this returns, no process is left that would disturb a measurement."""
    with processes_of_one_thread(processes) as pool:
        for one in as_completed([pool.submit(task, *arguments) for task, arguments in tasks]):
            _tell(one.result(), began)


def carried_out(job: Job, asked: Asked) -> str:
    """One line about a job, which leaves its network as ONNX and its figures in a file."""

    def find() -> dict[str, Any]:
        began = time.process_time()
        network, before = trained(job, asked)
        seconds = time.process_time() - began
        parity = export_onnx(network, asked.output / f"{job.name}.onnx", some_images())
        found = dataclasses.asdict(job) | described(network) | {"before": before, "core_seconds": seconds}
        return found | {"largest_difference": parity.largest_difference}

    found = kept_in(asked.output / f"{job.name}.json", find)
    return f"{job.name}: {found['before']:.2%} {found['accuracy']:.2%} in {found['core_seconds']:.0f} core-seconds"


def trained(job: Job, asked: Asked) -> tuple[nn.Module, float]:
    """The network that is handed over: merged, and its BatchNorms folded; and the accuracy before the training."""
    chosen = chosen_for(job.family, job.budget, job.arm, asked)
    if "plan" in chosen:
        return cut_for(job.family, Plan.from_json(chosen["plan"]), asked.epochs, job.seed, asked)
    way, part, epochs = Way(**chosen["way"]), chosen["part"], asked.epochs + asked.supernet_epochs
    if job.arm == WIDTH:
        network = narrow(job.family, way, part, asked)
    else:
        images = [some for some, _ in FEW.train_batches(epoch=0, batch_size=64, seed=0)]
        gradients = gradients_for(job.family, asked.baselines)
        network = refitted(learned(job.family, asked.baselines), gradients, way, part, images)
    before = test_accuracy(network.eval())
    return light_copy(tuned(job.family, network, epochs, job.seed, asked)), before


def described(network: nn.Module) -> dict[str, float]:
    """Test accuracy, parameters, and multiply-adds for one image."""
    # The processor's fused attention is not counted; what it stands for is.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(some_images()[:1])
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"accuracy": test_accuracy(network), "parameters": parameters, "macs": counter.get_total_flops() / 2}


def measured(family: str, budget: float, asked: Asked) -> Any:
    """The arms' networks as exported, of the first seed, beside the baseline in the same rounds."""

    def find() -> dict[str, Any]:
        device, names = open_device(DEVICE, Mode(1)), {"baseline": family}
        names |= {arm: Job(family, budget, arm, asked.seeds[0]).name for arm in arms_of(family, budget, asked)}
        programs = {name: device.load_file(asked.output / f"{file}.onnx", 1) for name, file in names.items()}
        timings = time_interleaved(programs, seconds=asked.long_seconds, seed=1)
        found = {name: dataclasses.asdict(timings.ratio(name, "baseline")) for name in names}
        return found | {"baseline_ms": timings.measurement("baseline").latency_ms}

    return kept_in(asked.output / f"{family}-{budget}-measured.json", find)


def place_record(family: str, budget: float, asked: Asked) -> dict[str, Any]:
    found = {arm: chosen_for(family, budget, arm, asked) for arm in asked.arms}
    return {"family": family, "budget": budget, "measured": measured(family, budget, asked), **found}


if __name__ == "__main__":
    main()
