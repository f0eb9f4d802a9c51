"""Narrower, less deep, or both: which loses least accuracy at the same measured latency?

    python benchmarks/width.py --output width-out --baselines progressive-out

The four small networks that `benchmarks/progressive.py` trained are brought to shares of their latency on ort-cpu, one
image and one thread. Width: torch-pruning's isomorphic pruning (`narrowing.py`), at a ratio found by bisection on what
is measured; the same with its layers fitted anew (`refitting.py`). Depth: a search by one table and one supernet
(`plans_within.py`) among what blocks merge to and dropping. All together: the same with narrower blocks, by a supernet
of all these and by fits; that plan of the two is taken which is better after one epoch, as width's way is. All are
trained on the same 1,024 scenes, at the same learning rate and with the same teacher, and width for as many epochs
more as a supernet took. The scenes that count are made of digits that nothing before saw.

Whatever is measured is measured while nothing else of this runs; in between, two processes of one thread each train.
Typed again, it goes on from where it was. The table goes to `benchmarks/results/`.
"""

import argparse
import dataclasses
import functools
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

import torch
from fitting_search import by_fits
from narrowing import WAYS, Way, bisected, gradients_of, least_pruned, narrowed, widths
from plans_within import best_plan, scorer
from progressive import FEW, LEARNING_RATE, RESULTS, baseline, spent, test_accuracy
from refitting import refitted
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from width_table import ARMS, DEPTH, REFITTED, TOGETHER, WIDTH, lines_of

import depthfinder as df
from latency.devices import Mode, open_device
from latency.export import export_onnx
from latency.hardware import processor_name
from latency.timing import time_interleaved
from profiles.files import write_whole
from profiles.profile import Profile
from profiles.store import load_profile
from pruner.calibration import estimate_batch_norm
from pruner.checkpoint import CheckpointFile
from pruner.evaluator import Evaluator
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.plan import FOLDS, OWN_WEIGHTS, SHARES, Plan
from pruner.progress import silent
from pruner.surgery import apply, describe, input_size_of, merge
from pruner.training.accuracy import accuracy
from pruner.training.loop import fit
from pruner.training.objective import Supervised, Teaching, light_copy
from pruner.training.pairs import learn_as_one, learn_as_pairs
from pruner.training.progressive import Progressive, begin, close
from pruner.training.schedules import Schedule, from_the_end
from pruner.training.settings import Optimizing, TrainSettings
from search.budget import BudgetUnreachableError
from search.limits import LatencyLimit
from search.space import Space

DEVICE: Final = "ort-cpu"
SUPERNET_SEED: Final = 21
TRYOUT_SEED: Final = 22
BY_SUPERNET, BY_FITS = "by a supernet", "by fits"
SCORED_BY: Final = {DEPTH: (BY_SUPERNET,), TOGETHER: (BY_SUPERNET, BY_FITS)}
ALSO: Final[Mapping[str, tuple[str, ...]]] = {DEPTH: (), TOGETHER: tuple(SHARES)}
NEIGHBOURS: Final = 2
CLOSING_SHARE: Final = 0.3


@dataclasses.dataclass(frozen=True)
class Asked:
    """What was typed, for the processes as well."""

    output: Path
    baselines: Path
    families: tuple[str, ...]
    budgets: tuple[float, ...]
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    epochs: int
    supernet_epochs: int
    tryout_epochs: int
    trials: int
    table_seconds: float
    quick_seconds: float
    long_seconds: float


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: a family, a budget, an arm, a seed."""

    family: str
    budget: float
    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{_of(self.family, self.budget, self.arm)}-{self.seed}"


def _of(family: str, budget: float, what: str) -> str:
    return f"{family}-{budget}-{what.replace(', ', '-').replace(' ', '-')}"


def main() -> None:
    asked, processes, results = _asked()
    began = time.monotonic()
    asked.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    places = [(family, budget) for family in asked.families for budget in asked.budgets]
    for family in asked.families:
        export_onnx(light_copy(learned(family, asked.baselines)), asked.output / f"{family}.onnx", _some_images())
        for arm in SCORED_BY:
            table(family, arm, asked)
        _tell(f"{family}: tables", began)
        for way in WAYS[family]:
            _tell(f"{family} {way.text}: parts {narrow_enough(family, way, asked)}", began)
    tryouts = [(tried, (*place, way, asked)) for place in places for way in WAYS[place[0]]]
    supernets = [(supernet_of, (family, arm, asked)) for family in asked.families for arm in SCORED_BY]
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
        "baselines": {family: described(light_copy(learned(family, asked.baselines))) for family in asked.families},
        "seconds": spent(asked.output, time.monotonic() - began),
    }
    lines = lines_of(record)
    print(*lines, sep="\n")
    (results / "width.md").write_text("\n".join(lines) + "\n")
    (results / "width.json").write_text(json.dumps(record, indent=1) + "\n")


def _asked() -> tuple[Asked, int, Path]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("width-out"))
    parser.add_argument("--baselines", type=Path, default=Path("progressive-out"))
    parser.add_argument("--families", nargs="+", choices=list(WAYS), default=list(WAYS))
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
    context = multiprocessing.get_context("spawn")
    one_thread: dict[str, Any] = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(processes, mp_context=context, **one_thread) as pool:
        for one in as_completed([pool.submit(task, *arguments) for task, arguments in tasks]):
            _tell(one.result(), began)


def _kept(file: Path, find: Callable[[], Any]) -> Any:
    """What stands in `file` as JSON; found and written there, if that was not done before."""
    if not file.exists():
        write_whole(file, json.dumps(find()) + "\n")
    return json.loads(file.read_text())


@functools.cache
def learned(family: str, baselines: Path) -> nn.Module:
    return baseline(family, baselines)


def _settings(epochs: int, seed: int) -> TrainSettings:
    return TrainSettings(epochs, seed=seed, optimizing=Optimizing(lr=LEARNING_RATE))


def _some_images() -> Tensor:
    """Those on which ONNX Runtime and PyTorch are compared."""
    return next(iter(FEW.test_batches(batch_size=250)))[0]


def narrow(family: str, way: Way, part: int, asked: Asked) -> nn.Module:
    return narrowed(learned(family, asked.baselines), _gradients(family, asked.baselines), way, part)


@functools.cache
def _gradients(family: str, baselines: Path) -> tuple[Tensor, ...]:
    return gradients_of(learned(family, baselines), FEW.train_batches(epoch=0, batch_size=64, seed=0))


def ratios(family: str, networks: Mapping[int, nn.Module], seconds: float, asked: Asked) -> dict[int, float]:
    """What networks take as a share of what the baseline takes in the same rounds."""
    whole, device = learned(family, asked.baselines), open_device(DEVICE, Mode(1))
    images = torch.rand(1, *input_size_of(whole), generator=torch.Generator().manual_seed(0))
    programs = {str(part): device.load(light_copy(network), images) for part, network in networks.items()}
    timings = time_interleaved(
        {"baseline": device.load(light_copy(whole), images), **programs}, seconds=seconds, seed=0
    )
    return {part: timings.ratio(str(part), "baseline").value for part in networks}


def narrow_enough(family: str, way: Way, asked: Asked) -> Any:
    """By budget, the part that quick readings take to be at it or just below it."""
    known: dict[str, float] = {}

    def ratio_at(part: int) -> float:
        network = narrow(family, way, part, asked)
        if widths(network) not in known:
            known[widths(network)] = ratios(family, {part: network}, asked.quick_seconds, asked)[part]
        return known[widths(network)]

    file = asked.output / f"{family}-parts-{way.round_to}-{way.head_share}.json"
    return _kept(file, lambda: {str(budget): bisected(ratio_at, budget) for budget in asked.budgets})


def tried(family: str, budget: float, way: Way, asked: Asked) -> str:
    """Leaves the accuracy on calibration scenes after a short training."""

    def find() -> float:
        part = narrow_enough(family, way, asked)[str(budget)]
        network = tuned(family, narrow(family, way, part, asked), asked.tryout_epochs, TRYOUT_SEED, asked)
        return accuracy(network, FEW.calibration_batches(batch_size=100))

    found = _kept(_tryout(family, budget, way, asked), find)
    return f"{family} {budget} {way.text}: {found:.2%} on calibration scenes"


def _tryout(family: str, budget: float, way: Way, asked: Asked) -> Path:
    return asked.output / f"{family}-{budget}-tryout-{way.round_to}-{way.head_share}.json"


def settled(family: str, budget: float, asked: Asked) -> Any:
    """The way that did best when tried, and about the part that was found for it the least pruned network that is at
    the budget or below it by longer readings."""

    def find() -> dict[str, Any]:
        tryouts = {way: json.loads(_tryout(family, budget, way, asked).read_text()) for way in WAYS[family]}
        way = max(tryouts, key=lambda one: tryouts[one])
        part, read = least_pruned(
            lambda part: narrow(family, way, part, asked),
            lambda networks: ratios(family, networks, asked.long_seconds, asked),
            budget,
            narrow_enough(family, way, asked)[str(budget)],
            NEIGHBOURS,
        )
        found = {"tryouts": {one.text: tryouts[one] for one in tryouts}, "read": read}
        if part is None:
            return found | {"unreachable": f"{way.text}: nothing that was measured fits"}
        return found | {"way": dataclasses.asdict(way), "part": part, "ratio": read[part]}

    return _kept(asked.output / f"{_of(family, budget, WIDTH)}.json", find)


def table(family: str, arm: str, asked: Asked) -> Profile:
    file = asked.output / f"{family}-table{'-widths' if ALSO[arm] else ''}.json"
    if not file.exists():
        also = OWN_WEIGHTS if ALSO[arm] else ()
        df.profile(learned(family, asked.baselines), DEVICE, also=also, max_seconds=asked.table_seconds).save(file)
    return load_profile(file)


@functools.cache
def scorer_of(family: str, arm: str, asked: Asked) -> Evaluator:
    settings = _settings(asked.supernet_epochs, SUPERNET_SEED)
    file = CheckpointFile(
        asked.output / f"{family}-supernet{'-widths' if ALSO[arm] else ''}.safetensors", f"{family} {arm} {settings}"
    )
    return scorer(learned(family, asked.baselines), FEW, settings, file, ALSO[arm])


def supernet_of(family: str, arm: str, asked: Asked) -> str:
    """Leaves a trained supernet in the output folder."""
    scorer_of(family, arm, asked)
    return f"{family}: supernet for {arm}"


@functools.cache
def _scored(family: str, arm: str, by: str, asked: Asked) -> tuple[Evaluator, Callable[[LatencyLimit], Space]]:
    """What scores plans, and which there are."""
    whole = learned(family, asked.baselines)
    if by == BY_FITS:
        fits = by_fits(family, whole, choices=(*OWN_WEIGHTS, *FOLDS))
        return fits.evaluate, fits.space_of
    chain = df.describe(whole, ALSO[arm])
    return scorer_of(family, arm, asked), lambda limit: Space.of(chain, [limit]).without_dominated_cuts()


def searched(family: str, budget: float, arm: str, by: str, asked: Asked) -> Any:
    """The plan that a search finds within the budget, and what its network took when it was chosen."""

    def find() -> dict[str, Any]:
        evaluate, space_of = _scored(family, arm, by, asked)
        try:
            winner = best_plan(
                learned(family, asked.baselines),
                open_device(DEVICE, Mode(1)),
                table(family, arm, asked),
                evaluate,
                space_of=space_of,
                share=budget,
                trials=asked.trials,
                seconds=asked.long_seconds,
                tell=print,
            )
        except BudgetUnreachableError as error:
            return {"by": by, "unreachable": str(error)}
        plan, score = winner.candidate.plan, winner.candidate.score
        return {"by": by, "plan": plan.to_json(), "score": score, "ratio": winner.verdicts[0].ratio}

    return _kept(asked.output / f"{_of(family, budget, arm)}-{_of('', '', by)}.json", find)


def tried_out(family: str, budget: float, by: str, asked: Asked) -> str:
    """Leaves the accuracy on calibration scenes of a plan of all together after a short training."""
    found = searched(family, budget, TOGETHER, by, asked)
    if "plan" not in found:
        return f"{family} {budget} {by}: not reached"

    def find() -> float:
        cut = cut_for(family, Plan.from_json(found["plan"]), asked.tryout_epochs, TRYOUT_SEED, asked)[0]
        return accuracy(cut, FEW.calibration_batches(batch_size=100))

    tried = _kept(asked.output / f"{_of(family, budget, 'tried')}-{_of('', '', by)}.json", find)
    return f"{family} {budget} {by}: {tried:.2%} on calibration scenes"


def decided(family: str, budget: float, arm: str, asked: Asked) -> Any:
    """Of the plans that were found that which was best when tried out."""

    def find() -> Any:
        found = [searched(family, budget, arm, by, asked) for by in SCORED_BY[arm]]
        reached = [one for one in found if "plan" in one]
        if len(reached) < 2:
            return (reached or found)[0]
        tried = {
            one["by"]: json.loads(
                (asked.output / f"{_of(family, budget, 'tried')}-{_of('', '', one['by'])}.json").read_text()
            )
            for one in reached
        }
        return max(reached, key=lambda one: tried[one["by"]]) | {"tryouts": tried}

    return _kept(asked.output / f"{_of(family, budget, arm)}.json", find)


def _chosen(family: str, budget: float, arm: str, asked: Asked) -> Any:
    arm = WIDTH if arm == REFITTED else arm
    return json.loads((asked.output / f"{_of(family, budget, arm)}.json").read_text())


def arms_of(family: str, budget: float, asked: Asked) -> list[str]:
    """Those that reach the budget."""
    return [arm for arm in asked.arms if "unreachable" not in _chosen(family, budget, arm, asked)]


def carried_out(job: Job, asked: Asked) -> str:
    """One line about a job, which leaves its network as ONNX and its figures in a file."""

    def find() -> dict[str, Any]:
        began = time.process_time()
        network, before = trained(job, asked)
        seconds = time.process_time() - began
        parity = export_onnx(network, asked.output / f"{job.name}.onnx", _some_images())
        found = dataclasses.asdict(job) | described(network) | {"before": before, "core_seconds": seconds}
        return found | {"largest_difference": parity.largest_difference}

    found = _kept(asked.output / f"{job.name}.json", find)
    return f"{job.name}: {found['before']:.2%} {found['accuracy']:.2%} in {found['core_seconds']:.0f} core-seconds"


def trained(job: Job, asked: Asked) -> tuple[nn.Module, float]:
    """The network that is handed over: merged, and its BatchNorms folded; and the accuracy before the training."""
    chosen = _chosen(job.family, job.budget, job.arm, asked)
    if "plan" in chosen:
        return cut_for(job.family, Plan.from_json(chosen["plan"]), asked.epochs, job.seed, asked)
    way, part, epochs = Way(**chosen["way"]), chosen["part"], asked.epochs + asked.supernet_epochs
    if job.arm == WIDTH:
        network = narrow(job.family, way, part, asked)
    else:
        images = [some for some, _ in FEW.train_batches(epoch=0, batch_size=64, seed=0)]
        gradients = _gradients(job.family, asked.baselines)
        network = refitted(learned(job.family, asked.baselines), gradients, way, part, images)
    before = test_accuracy(network.eval())
    return light_copy(tuned(job.family, network, epochs, job.seed, asked)), before


def cut_for(family: str, plan: Plan, epochs: int, seed: int, asked: Asked) -> tuple[nn.Module, float]:
    """The plan's network, trained and merged, and its accuracy as it was cut and fitted, before the training."""
    whole, settings = learned(family, asked.baselines), _settings(epochs, seed)
    cut = apply(whole, plan, merge_init="auto")
    begin(cut, plan, FEW, settings)
    fit_in_sequence(cut, [some for some, _ in FEW.train_batches(epoch=0, batch_size=64, seed=0)])
    cut.set_lambda(0.0)
    before = test_accuracy(cut)
    learn_as_pairs(cut)
    schedule = Schedule(from_the_end(describe(whole), plan), "linear", CLOSING_SHARE)
    _fit(Progressive(cut, Teaching(light_copy(whole)), schedule), settings)
    learn_as_one(cut)
    close(cut, FEW, settings)
    return merge(cut.eval()), before


def tuned(family: str, network: nn.Module, epochs: int, seed: int, asked: Asked) -> nn.Module:
    """A narrowed network, trained; like a cut one it ends with BatchNorm statistics taken anew."""
    settings = _settings(epochs, seed)
    _fit(Supervised(network, Teaching(light_copy(learned(family, asked.baselines)))), settings)
    batches = FEW.train_batches(epoch=epochs, batch_size=settings.batch_size, seed=seed)
    estimate_batch_norm(network, (images for images, _ in batches))
    return network.eval()


def _fit(objective: Supervised | Progressive, settings: TrainSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fit(objective, FEW, settings, CheckpointFile(Path(folder) / "state.safetensors", "width"), silent)


def described(network: nn.Module) -> dict[str, float]:
    """Test accuracy, parameters, and multiply-adds for one image."""
    # The processor's fused attention is not counted; what it stands for is.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(_some_images()[:1])
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

    return _kept(asked.output / f"{family}-{budget}-measured.json", find)


def place_record(family: str, budget: float, asked: Asked) -> dict[str, Any]:
    found = {arm: _chosen(family, budget, arm, asked) for arm in asked.arms}
    return {"family": family, "budget": budget, "measured": measured(family, budget, asked), **found}


if __name__ == "__main__":
    main()
