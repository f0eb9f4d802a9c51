"""What scoring plans together saves: the evaluator beside one forward pass per plan, on the same images.

    python benchmarks/evaluator.py                        # half an hour; writes results/evaluator_*
    python benchmarks/evaluator.py --only search large

- subsets: all 4,096 subsets of the 12 FFNs of `deit_digits`, merged or kept.
- search: a search of 200 plans of `deit_digits` for 0.7 of the latency, on its 400 calibration images, beside 60 of the
  plans, evenly chosen, by one pass each.
- large: a search of 200 plans of `deit_tiny_patch16_224` at 224 pixels for 0.7 of the latency, on 256 random images
  that are labelled with what the network, whose weights are random too, answers itself; beside 60 of the plans, evenly
  chosen, by one pass each.

In the searches the evaluator's time is that of the whole search: proposing, keeping the study in memory, and racing.
Batches of 64 and of 128 are tried first, on a few plans; both ways then use the size in which the plain way is faster.
The two ways take turns, and every run of the evaluator starts with nothing kept. Accuracies are compared for the plans
that were evaluated to the end.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from typing import TypeVar

import torch

import depthfinder as df
from latency.devices.null import Null
from latency.hardware import processor_name
from latency.profiler import profile
from profiles.profile import Profile
from pruner.choices.chain import Chain
from pruner.choices.choice import KEEP, MERGE
from pruner.choices.plan import Plan
from pruner.data.digits import DigitScenes
from pruner.data.images import Batch
from pruner.network.calibration import calibrate
from pruner.network.surgery import Supernet, supernet
from pruner.scoring.evaluator import Evaluator
from pruner.scoring.score import Score
from pruner.training.accuracy import accuracy
from search.limits import LatencyLimit
from search.samplers import known_sampler
from search.search import Stop, search
from search.space import Space
from search.storage.ledger import Ledger, in_memory
from shared.tables import RESULTS, markdown_table, publish

BATCH_SIZES = (64, 128)
TRIED_PLANS = 8
SEARCHED_PLANS = 200
HEADER = (
    "plans",
    "images",
    "batch",
    "one pass per plan",
    "evaluator",
    "gain",
    "blocks run",
    "dropped",
    "same accuracy",
)

Plans = Sequence[Plan]
Way = Callable[[Supernet, Sequence[Batch]], tuple[dict[Plan, Score], Evaluator]]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Line:
    """One row: the seconds of each run of either way, and for how many plans the accuracies are the same.

    The plain way may have been run for `plain_plans` of them alone. `evaluator_seconds` is what the evaluator took of
    the last run, `dropped` how many plans it did not evaluate to the end, `compared` for how many both accuracies are
    known. `tried` has the seconds of the plain way and of the evaluator for a few plans on 128 images, by batch size.
    """

    title: str
    plans: int
    plain_plans: int
    images: int
    batch_size: int
    plain_seconds: tuple[float, ...]
    seconds: tuple[float, ...]
    threads: int
    evaluator_seconds: float
    dropped: int
    plain_block_evaluations: int
    block_evaluations: int
    compared: int
    same_accuracy: int
    tried: dict[int, tuple[float, float]]

    @property
    def gains(self) -> list[float]:
        """What a plan takes the plain way over what it takes the evaluator, for each pair of runs."""
        share = self.plans / self.plain_plans
        return [share * plain / ours for plain, ours in zip(self.plain_seconds, self.seconds, strict=True)]

    def cells(self) -> list[str]:
        alone = "" if self.plain_plans == self.plans else f" for {self.plain_plans}"
        return [
            f"{self.title}: {self.plans:,}",
            f"{self.images:,}",
            str(self.batch_size),
            spread(self.plain_seconds, " s") + alone,
            spread(self.seconds, " s"),
            spread(self.gains, "x"),
            f"1 of {self.plain_block_evaluations / self.block_evaluations:.1f}",
            str(self.dropped),
            f"{self.same_accuracy:,} of {self.compared:,}",
        ]


def spread(values: Sequence[float], unit: str) -> str:
    middle = f"{statistics.median(values):.1f}{unit}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.1f} to {max(values):.1f})"


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def plainly(network: Supernet, batches: Sequence[Batch], plans: Sequence[Plan]) -> list[float]:
    """Accuracies by one forward pass per plan and batch."""
    found = []
    for plan in plans:
        network.select(plan)
        found.append(accuracy(network, batches))
    return found


def together(network: Supernet, batches: Sequence[Batch], plans: Plans) -> tuple[dict[Plan, Score], Evaluator]:
    """The scores by a new evaluator, and that evaluator."""
    evaluate = Evaluator(network, batches)
    return dict(zip(plans, evaluate(plans), strict=True)), evaluate


def searching(table: Profile, network: Supernet, batches: Sequence[Batch]) -> tuple[dict[Plan, Score], Evaluator]:
    """The scores that a search asks for, in its order, and the evaluator that gave them."""
    evaluate = Evaluator(network, batches)
    budget = LatencyLimit(table, 0.7 * table.latency_ms(Plan(network.chain.model)))
    result = search(
        Space.of(network.chain, [budget]),
        evaluate=lambda plans, bar: evaluate(plans, bar),
        ledger=Ledger(in_memory(), "study", {}, patience_s=0),
        sampler=known_sampler("prefix"),
        stop=Stop(SEARCHED_PLANS, gap=-1.0),
    )
    found = sorted((*result.candidates, *result.others), key=lambda candidate: candidate.number)
    return {one.plan: one.details for one in found if one.details is not None}, evaluate


def compared(title: str, network: Supernet, data: Batch, way: Way, runs: int, plain_plans: int, plans: Plans) -> Line:
    """Both ways in turn, `runs` times; the plain way for `plain_plans` of what was evaluated, evenly chosen. `plans`
    are to try batch sizes with."""
    tried = by_batch_size(network, plans)
    batch_size = min(tried, key=lambda size: tried[size][0])
    batches = split(data, batch_size)
    plain_seconds, seconds = [], []
    for run in range(runs):
        (scores, evaluate), ours = timed(lambda: way(network, batches))
        chosen = evenly(list(scores), plain_plans)
        expected, plain = timed(lambda: plainly(network, batches, chosen))  # noqa: B023  # called at once
        plain_seconds.append(plain)
        seconds.append(ours)
        print(f"{title}, run {run + 1} of {runs}: {plain:.1f} s and {ours:.1f} s", flush=True)
    whole = [(a, scores[plan]) for a, plan in zip(expected, chosen, strict=True) if scores[plan].images == len(data[1])]
    return Line(
        title=title,
        plans=len(scores),
        plain_plans=len(chosen),
        images=len(data[1]),
        batch_size=min(batch_size, len(data[1])),
        plain_seconds=tuple(plain_seconds),
        seconds=tuple(seconds),
        threads=torch.get_num_threads(),
        evaluator_seconds=evaluate.cost.seconds,
        dropped=evaluate.cost.dropped,
        plain_block_evaluations=evaluate.cost.plain_block_evaluations,
        block_evaluations=evaluate.cost.block_evaluations,
        compared=len(whole),
        same_accuracy=sum(a == score.accuracy for a, score in whole),
        tried=tried,
    )


def evenly(plans: Plans, most: int) -> Plans:
    step = max(1.0, len(plans) / most)
    return [plans[int(index * step)] for index in range(min(most, len(plans)))]


def by_batch_size(network: Supernet, plans: Sequence[Plan]) -> dict[int, tuple[float, float]]:
    """Batch size -> seconds of the plain way and of the evaluator, for a few of the plans on 128 images."""
    some = Random(0).sample(list(plans), min(TRIED_PLANS, len(plans)))
    data = random_images(network.chain, max(BATCH_SIZES))
    tried = {}
    for size in BATCH_SIZES:
        batches = split(data, size)
        plainly(network, batches, some[:1])
        _, plain = timed(lambda: plainly(network, batches, some))  # noqa: B023  # called at once
        _, ours = timed(lambda: together(network, batches, some))  # noqa: B023
        tried[size] = (plain, ours)
    return tried


def split(data: Batch, size: int) -> list[Batch]:
    return list(zip(data[0].split(size), data[1].split(size), strict=True))


def random_images(chain: Chain, count: int) -> Batch:
    random = torch.Generator().manual_seed(0)
    return torch.randn(count, *chain.input_size, generator=random), torch.randint(10, (count,), generator=random)


def subsets(chain: Chain) -> Plans:
    """All subsets of the blocks that can be merged, in an order that helps nobody."""
    names = [block.name for block in chain.blocks if MERGE in block.choices]
    choices = product((KEEP, MERGE), repeat=len(names))
    plans = [chain.plan(dict(zip(names, some, strict=True))) for some in choices]
    Random(0).shuffle(plans)
    return plans


def some_plans(chain: Chain) -> Plans:
    random = Random(0)
    return [chain.random_plan(0.4, random) for _ in range(TRIED_PLANS)]


def begun(name: str, images: torch.Tensor, *, pretrained: bool) -> Supernet:
    """The supernet as its training begins: every BatchNorm near the norm that it stands in for."""
    torch.manual_seed(0)
    network = supernet(df.load_model(name, pretrained=pretrained))
    network.select(Plan(network.chain.model, {b.name: MERGE for b in network.chain.blocks if MERGE in b.choices}))
    calibrate(network, images.split(64))
    return network.eval()


def digits_case(images: int) -> tuple[Supernet, Batch]:
    data = DigitScenes(calibration_images=images)
    (seen,) = data.calibration_batches(batch_size=images)
    training, _ = next(data.train_batches(epoch=0, batch_size=640, seed=0))
    return begun("deit_digits", training, pretrained=True), seen


def subsets_line(arguments: argparse.Namespace) -> Line:
    network, seen = digits_case(arguments.images)
    plans = subsets(network.chain)
    title = "all subsets of 12 FFNs, `deit_digits`"

    def way(network: Supernet, batches: Sequence[Batch]) -> tuple[dict[Plan, Score], Evaluator]:
        return together(network, batches, plans)

    return compared(title, network, seen, way, arguments.rounds, arguments.plain, plans)


def search_line(arguments: argparse.Namespace) -> Line:
    network, seen = digits_case(400)
    table = profile(df.load_model("deit_digits"), Null(), max_seconds=0.1)
    title, plans = "a search, `deit_digits`", some_plans(network.chain)
    return compared(title, network, seen, partial(searching, table), arguments.rounds, 60, plans)


def large_line(_arguments: argparse.Namespace) -> Line:
    name = "deit_tiny_patch16_224"
    model = df.load_model(name)
    images = random_images(df.describe(model), 256)[0]
    network = begun(name, images[:64], pretrained=False)
    with torch.inference_mode():
        answers = torch.cat([network(some).argmax(dim=1) for some in images.split(64)])
    table = profile(model, Null(), max_seconds=0.1)
    title, plans = f"a search, `{name}`", some_plans(network.chain)
    return compared(title, network, (images, answers), partial(searching, table), 1, 60, plans)


CASES = {"subsets": subsets_line, "search": search_line, "large": large_line}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3, help="of either way, in turns")
    parser.add_argument("--images", type=int, default=64, help="for the subsets")
    parser.add_argument("--plain", type=int, default=4096, help="how many of the subsets one pass each is run for")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the tables")
    arguments = parser.parse_args()
    for case in arguments.only:
        line = CASES[case](arguments)
        publish(f"evaluator_{case}", lines_of(line), asdict(line), arguments.results)
        print(flush=True)


def lines_of(line: Line) -> list[str]:
    """What is printed of a case."""
    runs = len(line.seconds)
    each = "One run of each way" if runs == 1 else f"{runs} runs of each way in turns, median and range"
    tried = (f"{size}: {plain:.2f} and {ours:.2f} s" for size, (plain, ours) in line.tried.items())
    told = (
        f"{each}; the gain is per plan. {line.evaluator_seconds:.1f} s of the last run were in the evaluator.",
        f"{line.threads} thread(s) on {os.cpu_count()} cores of {processor_name()}, float32.",
        f"{TRIED_PLANS} plans on {max(BATCH_SIZES)} random images, plainly and by the evaluator, in batches of "
        f"{'; '.join(tried)}.",
    )
    return [*markdown_table(HEADER, [line.cells()]), "", " ".join(told)]


if __name__ == "__main__":
    main()
