"""How near the best plan each way of searching comes, where the best plan is known.

Three kinds of landscape (`shared/landscapes.py`). Synthetic chains of 12, 24 and 40 sites, ten of each, whose
single-block scores and interactions are drawn as large as a quadratic fit of the demo's supernet finds them, and whose
optimum the exact solver proves. Ten of each with six choices for every site, as large as layers fitted to the demo's
network show them, and ten that are more rugged than that; of these the best that is known is what climbing by the true
scores finds from many plans, or any search. And the demo's supernet itself: 12 FFN sites, merged or kept, all 4,096
subsets evaluated.

    python benchmarks/search_quality.py --output search-quality-out                   # some hours
    python benchmarks/search_quality.py --output search-quality-out --only six rugged --samplers auto tpe

What is printed is best found / optimum after 50, 100 and 200 evaluations, and goes to `results/`, that of some
landscapes to a file of their own. The single-block scores of the additive solution count as evaluations too. No time is
measured, and two searches run at a time. Typed again, it goes on from where it was.
"""

import argparse
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from profiles.files import write_whole
from pruner.scoring.score import Score
from search.feasible import solved_plan
from search.samplers import known_sampler
from search.search import Stop, search
from search.storage.ledger import Ledger, in_memory
from shared.landscapes import Landscape, demo, rugged, six_choices, two_choices
from shared.processes import processes_of_one_thread
from shared.tables import markdown_table, publish

AFTER: Final = (50, 100, 200)
SIZES: Final = (12, 24, 40)
INSTANCES: Final = range(10)
ADDITIVE: Final = "additive"
NAMES: Final = {
    "auto": "ours",
    "prefix": "ours, prefix",
    "tpe": "TPE",
    "nsga2": "NSGA-II",
    "gp": "GP",
    "random": "random",
    ADDITIVE: "additive, exact",
}
TITLES: Final = {
    "two": "2 choices",
    "six": "6 choices, best known",
    "rugged": "6 choices, each pair by itself, best known",
}
# Optuna's Gaussian process takes seconds for each plan: two instances and fifty evaluations have to do for it.
FEWER: Final = {"gp": (2, 50)}


@dataclass(frozen=True)
class Job:
    """One search: a kind of landscape, its sites, which of them, and a sampler."""

    kind: str
    sites: int
    instance: int
    sampler: str

    @property
    def file(self) -> str:
        return f"{self.kind}-{self.sites}-{self.instance}-{self.sampler}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("search-quality-out"))
    parser.add_argument("--only", nargs="+", default=["demo", *TITLES])
    parser.add_argument("--samplers", nargs="+", default=list(NAMES), choices=list(NAMES))
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    kinds = [(kind, sites) for kind in asked.only for sites in ((12,) if kind == "demo" else SIZES)]
    if ("demo", 12) in kinds:
        demo(asked.output)  # is evaluated once, for all processes
    jobs = [
        Job(*kind, instance, sampler)
        for kind in kinds
        for sampler in asked.samplers
        for instance in INSTANCES[: FEWER.get(sampler, (len(INSTANCES), 0))[0]]
    ]
    with processes_of_one_thread(2) as pool:
        for line in pool.map(functools.partial(carried_out, output=asked.output), jobs):
            print(line, flush=True)
    part = "" if len(asked.only) == len(TITLES) + 1 else f"_{'_'.join(asked.only)}"
    publish(f"search_quality{part}", lines_of(kinds, asked.samplers, asked.output))


def landscape_of(job: Job, output: Path) -> Landscape:
    if job.kind == "demo":
        return demo(output)
    return {"two": two_choices, "six": six_choices, "rugged": rugged}[job.kind](job.sites, job.instance)


def carried_out(job: Job, output: Path) -> str:
    """Leaves the best score found after each evaluation in a file, with the best that is known."""
    file = output / job.file
    if not file.exists():
        landscape = landscape_of(job, output)
        found = additive(landscape) if job.sampler == ADDITIVE else best_found(landscape, job)
        write_whole(file, json.dumps({"best": landscape.best, "found": found}) + "\n")
    record = json.loads(file.read_text())
    return f"{job}: {record['found'][-1]:.4f} of {record['best']:.4f} after {len(record['found'])}"


def best_found(landscape: Landscape, job: Job) -> list[float]:
    """After each evaluation; 0 as long as nothing within the limits was seen."""
    evaluations = FEWER.get(job.sampler, (0, AFTER[-1]))[1]
    result = search(
        landscape.space,
        evaluate=lambda plans, _bar: [Score(landscape.score(plan)) for plan in plans],
        ledger=Ledger(in_memory(), "study", {}, patience_s=0),
        sampler=known_sampler(job.sampler),
        stop=Stop(evaluations, gap=-1.0),
        seed=job.instance,
    )
    best = np.zeros(evaluations)
    for candidate in result.candidates:
        best[candidate.number :] = np.maximum(best[candidate.number :], candidate.score)
    found: list[float] = best.tolist()
    return found


def additive(landscape: Landscape) -> list[float]:
    """The same for the exact solver on single-block scores alone: what it answers is the last plan that is seen."""
    space = landscape.space
    uncut = landscape.score(space.uncut)
    gains = np.array([landscape.score(space.plan(cut)) - uncut for cut in np.eye(len(space.cuts))])
    plan = solved_plan(space, gains)
    assert plan is not None
    return [0.0] * (1 + len(space.cuts)) + [landscape.score(plan)]


def lines_of(kinds: Sequence[tuple[str, int]], samplers: Sequence[str], output: Path) -> list[str]:
    rows = []
    for kind, sites in kinds:
        records: dict[tuple[int, str], Any] = {}
        for file in output.glob(f"{kind}-{sites}-*.json"):
            instance, sampler = file.stem.split("-")[2:]
            records[int(instance), sampler] = json.loads(file.read_text())
        best = {
            instance: max(max(one["best"], *one["found"]) for (own, _), one in records.items() if own == instance)
            for instance, _ in records
        }
        for sampler in samplers:
            runs = [(records[key]["found"], best[key[0]]) for key in sorted(records) if key[1] == sampler]
            rows.append((_title(kind, sites, output), NAMES[sampler], *_cells(runs, sampler)))
    heads = ("landscape", "search", *(f"after {after}" for after in AFTER), "plans")
    return ["Best found / optimum: mean (worst), how often the optimum itself.", "", *markdown_table(heads, rows)]


def _title(kind: str, sites: int, output: Path) -> str:
    if kind == "demo":
        return f"demo's supernet: {demo(output).about}"
    return f"{sites} sites, {TITLES[kind]}"


def _cells(runs: Sequence[tuple[Sequence[float], float]], sampler: str) -> list[str]:
    cells = []
    for after in AFTER:
        reached = np.array([found[after - 1] / best for found, best in runs if len(found) >= after])
        if sampler == ADDITIVE:  # sees as many plans as there are cuts, and then its answer
            reached = np.array([found[-1] / best for found, best in runs if len(found) <= after])
        optimal = int((reached > 1 - 1e-9).sum())
        cells.append(f"{reached.mean():.4f} ({reached.min():.4f}), {optimal}/{len(reached)}" if len(reached) else "")
    return [*cells, str(max(len(found) for found, _ in runs))]


if __name__ == "__main__":
    main()
