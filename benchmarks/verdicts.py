"""Whether a verdict can be believed on a busy machine: searches beside nothing, and beside a busy loop on every core.

    python benchmarks/verdicts.py       # about half an hour; writes results/verdicts.{json,md}

Ten searches each, at 0.7 of the baseline, of `deit_digits` with a weight-sharing network that is calibrated, not
trained (what it scores does not change what it takes). Each measures a table of its own, searches by a seed of its own
and measures its finalists as `depthfinder search` does, and then its winner as the last stage of `depthfinder run`
does. That verdict is held against time on the processor, which other work cannot lengthen: measured once more after the
other work has ended, of networks that were loaded anew. A verdict `met` is wrong where that ratio is above the budget
by more than 3 %.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import depthfinder as df
from latency.devices import open_device
from latency.evidence import Evidence
from latency.hardware import processor_name
from latency.study import REFERENCE
from latency.timing import Timings, time_interleaved
from latency.workbench import Workbench, reference
from profiles.profile import Profile
from pruner.choices.choice import MERGE
from pruner.choices.plan import Plan
from pruner.data.digits import DigitScenes
from pruner.network.calibration import calibrate
from pruner.scoring.evaluator import Evaluator
from search.candidate import SearchResult
from search.errors import BudgetUnreachableError
from search.limits import LatencyLimit
from search.samplers import known_sampler
from search.search import Stop, search
from search.space import Space
from search.storage.ledger import Ledger, in_memory
from search.verification.budget import Budget
from search.verification.finalists import Judge
from search.verification.margin import AIMED_BELOW
from search.verification.verdict import gather_evidence, verdict_on
from search.verification.within_budget import search_within_budget
from shared.busy_loops import busy_loops
from shared.tables import RESULTS, markdown_row, markdown_table, write_results

RATIO, TRIALS, ALLOWED = 0.7, 40, 1.03
TABLE_SECONDS, FINALIST_SECONDS, VERDICT_SECONDS = 12.0, 10.0, 12.0
HEAD = (
    "other work", "search", "verdict in the search", "verdict at the end", "wall", "processor", "processor, quiet",
    "wrongly met", "minutes",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """One search: what it said of its winner at both times, and what the processor says once the machine is quiet."""

    machine: str
    busy: bool
    seed: int
    in_search: str
    at_end: str
    reason: str
    wall: float
    processor: float
    quiet_processor: float
    seconds: float

    @property
    def is_wrong(self) -> bool:
        return "met" in (self.in_search, self.at_end) and self.quiet_processor > RATIO * ALLOWED

    @property
    def cells(self) -> tuple[str, ...]:
        ratios = (f"{ratio:.3f}" for ratio in (self.wall, self.processor, self.quiet_processor))
        wrong = "yes" if self.is_wrong else "no"
        return (
            _name(self.busy),
            str(self.seed),
            self.in_search,
            self.at_end,
            *ratios,
            wrong,
            f"{self.seconds / 60:.1f}",
        )


class Bench:
    """The demo's network on a device, its plans scored, its programs timed as the commands do."""

    def __init__(self, device: str) -> None:
        self.model = df.load_model("deit_digits", pretrained=True)
        self.device_name, self.device = device, open_device(device)
        data, network = DigitScenes(calibration_images=200), df.supernet(self.model)
        self.chain = network.chain
        network.select(self.chain.plan({block.name: MERGE for block in self.chain.blocks if MERGE in block.choices}))
        calibrate(network, [images for images, _ in data.train_batches(epoch=0, batch_size=64, seed=0)][:4])
        network.eval()
        self.evaluate = Evaluator(network, list(data.calibration_batches(batch_size=100)))

    def timer(self, seconds: float) -> Callable[[Mapping[str, Plan]], Timings]:
        """Times plans whose networks are loaded anew for each timer, beside the reference."""
        bench = Workbench(self.model, self.device, 1)

        def timed(plans: Mapping[str, Plan]) -> Timings:
            programs = {name: bench.program_of(plan) for name, plan in plans.items()}
            gauge = {REFERENCE: reference(self.device)}
            one_thread = self.device.one_thread
            return time_interleaved(gauge | programs, seconds=seconds, seed=0, one_thread=one_thread)

        return timed

    def hunter(self, table: Profile, budget: Budget, seed: int) -> Callable[[Sequence[float], int, int], SearchResult]:
        ledger = Ledger(in_memory(), "study", {}, patience_s=0)

        def search_slots(corrections: Sequence[float], first: int, stop: int) -> SearchResult:
            limit = LatencyLimit(table, budget.tightened(AIMED_BELOW).latency_ms / corrections[0])
            return search(
                Space.of(self.chain, [limit]),
                evaluate=lambda plans, bar: self.evaluate(plans, bar),
                ledger=ledger,
                sampler=known_sampler("auto"),
                stop=Stop(stop),
                first=first,
                seed=seed,
            )

        return search_slots


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=10)
    parser.add_argument("--device", default="ort-cpu")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the table")
    parser.add_argument("--go-on", action="store_true", help="keep the searches that are in the results already")
    asked = parser.parse_args()

    written = asked.results / "verdicts.json"
    before = [Outcome(**one) for one in json.loads(written.read_text())] if written.exists() and asked.go_on else []
    found = {(one.seed, one.busy): one for one in before}
    bench = Bench(asked.device)
    for seed in range(asked.searches):
        for busy in (False, True):
            if (seed, busy) in found:
                continue
            one = found[seed, busy] = outcome(bench, seed, busy)
            print(f"{markdown_row(one.cells)}  {one.reason}", flush=True)
            outcomes = list(found.values())
            write_results("verdicts", lines_of(outcomes), [asdict(each) for each in outcomes], asked.results)
    print(*lines_of(list(found.values())), sep="\n")


def outcome(bench: Bench, seed: int, busy: bool) -> Outcome:
    """One search, with other work beside it or not."""
    started = time.monotonic()
    in_search, at_end, reason, wall, processor, plan = "none fits", "none fits", "", float("nan"), float("nan"), None
    with busy_loops(os.cpu_count() or 1 if busy else 0):
        table = df.profile(bench.model, bench.device_name, max_seconds=TABLE_SECONDS)
        budget = Budget.relative(RATIO, table)
        judges = [Judge(budget, table, bench.timer(FINALIST_SECONDS))]
        try:
            kept = search_within_budget(
                bench.hunter(table, budget, seed), judges, TRIALS, margin=AIMED_BELOW, tell=[].append
            )
        except BudgetUnreachableError as error:
            reason = str(error)
        else:
            plan, in_search = kept.winner.candidate.plan, kept.winner.verdicts[0].answer
            evidence = final_evidence(bench, plan, budget)
            verdict = verdict_on(budget, evidence)
            assert evidence.processor is not None, "one thread of the processor is timed"
            at_end, reason, wall, processor = (
                verdict.answer,
                verdict.reason,
                evidence.wall.value,
                evidence.processor.value,
            )
    seconds = time.monotonic() - started
    quiet = float("nan") if plan is None else quiet_ratio(bench, plan)
    return Outcome(machine(), busy, seed, in_search, at_end, reason, wall, processor, quiet, seconds)


def final_evidence(bench: Bench, plan: Plan, budget: Budget) -> Evidence:
    """As the stage that measures what a run came to."""
    timed = bench.timer(VERDICT_SECONDS)

    def of(names: Collection[str]) -> Timings:
        return timed({"baseline": bench.chain.plan({}), **dict.fromkeys(names, plan)})

    def is_open(evidence: Evidence) -> bool:
        return verdict_on(budget, evidence).answer == "undecided"

    return gather_evidence(["pruned"], "baseline", budget, of, again=is_open, tell=[].append)["pruned"]


def quiet_ratio(bench: Bench, plan: Plan) -> float:
    ratio = bench.timer(VERDICT_SECONDS)({"baseline": bench.chain.plan({}), "pruned": plan}).processor_ratio(
        "pruned", "baseline"
    )
    assert ratio is not None, "one thread of the processor is timed"
    return ratio.value


def lines_of(found: Sequence[Outcome]) -> list[str]:
    machines = " and ".join(dict.fromkeys(one.machine for one in found))
    lines = [
        f"{machines}; `deit_digits`, 1 thread, {RATIO} of the baseline, {TRIALS} plans",
        "",
        *markdown_table(HEAD, [one.cells for one in found]),
        "",
    ]
    for busy in (False, True):
        ended = [one.at_end for one in found if one.busy is busy]
        counts = ", ".join(f"{ended.count(answer)} {answer}" for answer in ("met", "not met", "undecided", "none fits"))
        wrong = sum(one.is_wrong for one in found if one.busy is busy)
        lines.append(f"Other work {_name(busy)}: of {len(ended)} verdicts {counts}; {wrong} wrongly met.")
    return lines


def machine() -> str:
    return f"{processor_name()}, {os.cpu_count()} cores"


def _name(busy: bool) -> str:
    return "a busy loop on every core" if busy else "none"


if __name__ == "__main__":
    main()
