"""Whether the budget is a promise kept: twenty random budgets in milliseconds, searched for and measured here.

    python benchmarks/budgets.py       # about a quarter of an hour; writes results/budgets.md

One table and one weight-sharing network of `deit_digits` (calibrated, not trained: what it scores does not change what
it takes) serve all budgets, which are drawn between 0.4 and 0.95 of the baseline as measured. Each is searched for and
its winner measured as `depthfinder search` does it. Then the winner's network is made and loaded anew and measured once
more beside the baseline: that figure, which no choice was made by, stands in the last columns.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import depthfinder as df
from latency.devices import open_device
from latency.hardware import processor_name
from latency.timing import Timings, time_interleaved
from latency.workbench import Workbench
from pruner.choices.choice import MERGE
from pruner.choices.plan import Plan
from pruner.data.digits import DigitScenes
from pruner.network.calibration import calibrate
from pruner.scoring.evaluator import Evaluator
from search.candidate import SearchResult
from search.limits import LatencyLimit
from search.samplers import known_sampler
from search.search import Stop, search
from search.space import Space
from search.storage.ledger import Ledger, in_memory
from search.verification.budget import Budget
from search.verification.finalists import Judge
from search.verification.margin import AIMED_BELOW
from search.verification.within_budget import search_within_budget
from shared.tables import RESULTS, markdown_row, markdown_table, write_results

TRIALS = 60
SECONDS = 8.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=20)
    parser.add_argument("--device", default="ort-cpu")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the table")
    asked = parser.parse_args()

    model = df.load_model("deit_digits", pretrained=True)
    device, data = open_device(asked.device), DigitScenes(calibration_images=200)
    table = df.profile(model, asked.device, max_seconds=60)
    network = df.supernet(model)
    chain = network.chain
    network.select(chain.plan({block.name: MERGE for block in chain.blocks if MERGE in block.choices}))
    calibrate(network, [images for images, _ in data.train_batches(epoch=0, batch_size=64, seed=0)][:4])
    network.eval()
    evaluate = Evaluator(network, list(data.calibration_batches(batch_size=100)))

    def timed(plans: Mapping[str, Plan]) -> Timings:
        bench = Workbench(model, device, 1)
        programs = {name: bench.program_of(plan) for name, plan in plans.items()}
        return time_interleaved(programs, seconds=SECONDS, seed=0)

    draw = random.Random(0)
    rows, kept, kept_again = [], 0, 0
    for number in range(1, asked.searches + 1):
        budget = Budget(draw.uniform(0.4, 0.95) * table.baseline_ms)
        ledger = Ledger(in_memory(), "study", {}, patience_s=0)
        told: list[str] = []

        def search_slots(
            corrections: Sequence[float], first: int, stop: int, budget: Budget = budget, ledger: Ledger = ledger
        ) -> SearchResult:
            limit = LatencyLimit(table, budget.tightened(AIMED_BELOW).latency_ms / corrections[0])
            return search(
                Space.of(chain, [limit]),
                evaluate=lambda plans, bar: evaluate(plans, bar),
                ledger=ledger,
                sampler=known_sampler("prefix"),
                stop=Stop(stop),
                first=first,
            )

        judges = [Judge(budget, table, timed)]
        found = search_within_budget(search_slots, judges, TRIALS, margin=AIMED_BELOW, tell=told.append)
        verdict = found.winner.verdicts[0]
        assert verdict.measured is not None
        again = timed({"baseline": chain.plan({}), "winner": found.winner.candidate.plan}).measurement("winner")
        within, within_again = (figure.latency_ms <= budget.latency_ms for figure in (verdict.measured, again))
        kept, kept_again = kept + within, kept_again + within_again
        cells = (
            str(number),
            f"{budget.latency_ms:.3f}",
            f"{verdict.predicted_ms:.3f}",
            f"{verdict.measured.latency_ms:.3f} ({verdict.measured.low_ms:.3f} to {verdict.measured.high_ms:.3f})",
            f"{again.latency_ms:.3f}",
            "yes" if within_again else "no",
            str(len(found.finalists)),
            str(len(told)),
        )
        rows.append(cells)
        print(markdown_row(cells), flush=True)
    head = ("", "budget, ms", "by the table", "measured (95 %)", "once more", "within", "measured plans", "messages")
    lines = [
        f"{processor_name()}, {table.setting.runtime}, 1 thread; baseline {table.baseline_ms:.3f} ms; "
        f"{TRIALS} plans each",
        "",
        *markdown_table(head, rows),
        "",
        f"Of {asked.searches} winners {kept} measured within their budget in the search, and {kept_again} once more.",
    ]
    write_results("budgets", lines, folder=asked.results)
    print(lines[-1])


if __name__ == "__main__":
    main()
