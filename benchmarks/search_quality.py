"""How near the best plan each way of searching comes, where the best plan is known.

Two kinds of landscape. Synthetic chains of 12, 24 and 40 sites, ten of each, whose single-block scores and interactions
are drawn as large as a quadratic fit of the demo's supernet finds them (below), and whose optimum the exact solver
proves. And the demo's supernet itself: 12 FFN sites, merged or kept, all 4,096 subsets evaluated.

    python benchmarks/search_quality.py                   # about an hour; writes results/search_quality.md
    python benchmarks/search_quality.py --landscape FILE  # the 4,096 evaluations, kept in FILE or taken from it

What is printed is best found / optimum after 50, 100 and 200 evaluations. The single-block scores of the additive
solution count as evaluations too. No time is measured.
"""

import argparse
import itertools
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latency.devices.null import Null
from latency.profiler import profile
from pruner.chain import Block, Chain
from pruner.checkpoint import CheckpointFile
from pruner.data.digits import DigitScenes
from pruner.evaluator import Evaluator
from pruner.models import load_model
from pruner.plan import MERGE, Plan
from pruner.progress import silent
from pruner.score import Score
from pruner.surgery import describe, supernet
from pruner.training.loop import fit
from pruner.training.progressive import begin
from pruner.training.settings import TrainSettings
from pruner.training.supernet import SupernetObjective
from search.feasible import solved_plan
from search.ledger import Ledger, in_memory
from search.limits import LatencyLimit, Limit
from search.samplers import known_sampler
from search.search import Stop, search
from search.space import Array, Space

RESULTS = Path(__file__).parent / "results"
AFTER = (50, 100, 200)
SIZES = (12, 24, 40)
INSTANCES = 10
SEEDS = 10
BUDGETS = (0.85,)
SAMPLERS = ("auto", "thrifty", "tpe", "nsga2", "gp", "random")
# Optuna's samplers take minutes where ours take seconds: three of the ten have to do for them, two for its Gaussian
# process, and fifty evaluations.
FEWER = {"tpe": (3, 200), "nsga2": (3, 200), "random": (3, 200), "gp": (2, 50)}
OURS = {"auto": "ours", "thrifty": "ours, thrifty", "nsga2": "NSGA-II", "tpe": "TPE", "gp": "GP", "random": "random"}


@dataclass(frozen=True)
class Landscape:
    """Plans whose scores are all known, or can be computed, with the best of those within the limits."""

    space: Space
    score: Callable[[Plan], float]
    optimum: float


@dataclass(frozen=True)
class AtMost(Limit):
    """A latency that is the sum of what blocks take, with nothing else to it."""

    bound: float
    saves: dict[str, float]

    def amount(self, plan: Plan) -> float:  # type: ignore[override]
        return math.fsum(ms for block, ms in self.saves.items() if block not in plan.choices)

    def saved(self, block: str, choice: str) -> float:
        return self.saves[block]

    @property
    def text(self) -> str:
        return f"at most {self.bound:.3f} ms"


def synthetic(sites: int, seed: int) -> Landscape:
    """A chain of sites to be kept or cut, 40 % of whose latency has to go.

    The log odds of a right answer are 3, plus a normal number for each cut, -0.08 +- 0.2, and for each pair of cuts, at
    a distance of d <= 11 blocks -0.2 / d +- 0.2 / sqrt(d): what least squares finds in the demo's supernet.
    """
    random = np.random.default_rng(seed)
    single = random.normal(-0.08, 0.2, sites)
    pairs = np.zeros((sites, sites))
    for first, second in itertools.combinations(range(sites), 2):
        apart = second - first
        if apart <= 11:
            pairs[first, second] = random.normal(-0.2 / apart, 0.2 / math.sqrt(apart))
    saves = random.uniform(0.5, 1.5, sites)
    blocks = tuple(Block(f"blocks.{index}", "block", f"block {index}", ("keep", "drop")) for index in range(sites))
    chain = Chain(f"synthetic-{sites}-{seed}", "synthetic", (3, 1, 1), blocks)
    limit = AtMost(0.6 * float(saves.sum()), {block.name: float(ms) for block, ms in zip(blocks, saves, strict=True)})
    space = Space.of(chain, [limit])

    def score(plan: Plan) -> float:
        vector = space.vector(plan)
        return 1 / (1 + math.exp(-3 - float(single @ vector + vector @ pairs @ vector)))

    best = solved_plan(space, single, pairs, most_pairs=sites * sites)
    assert best is not None
    return Landscape(space, score, score(best))


def demo_scores(path: Path | None) -> dict[Plan, float]:
    """The score of every way of merging the 12 FFNs of the demo's supernet, trained as a run trains it."""
    model = load_model("deit_digits", pretrained=True)
    chain = describe(model)
    ffns = [block.name for block in chain.blocks if MERGE in block.choices]
    plans = [
        chain.plan(dict.fromkeys((name for name, cut in zip(ffns, way, strict=True) if cut), MERGE))
        for way in itertools.product((False, True), repeat=len(ffns))
    ]
    if path is not None and path.exists():
        return dict(zip(plans, np.load(path).tolist(), strict=True))
    data, settings = DigitScenes(), TrainSettings(2)
    network = supernet(model)
    begin(network, chain.plan(dict.fromkeys(ffns, MERGE)), data, settings)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = CheckpointFile(Path(folder) / "supernet.safetensors", "search quality")
        fit(SupernetObjective(network), data, settings, checkpoint, silent)
    network.eval()
    scores = [score.value for score in Evaluator(network, list(data.calibration_batches(batch_size=128)))(plans)]
    if path is not None:
        np.save(path, np.array(scores))
    return dict(zip(plans, scores, strict=True))


def demo(scores: dict[Plan, float], budget: float) -> Landscape:
    """The demo's supernet under a share of the latency of the device of exact arithmetic."""
    model = load_model("deit_digits", pretrained=True)
    chain, table = describe(model), profile(model, Null(), max_seconds=0.1)
    limit = LatencyLimit(table, budget * table.latency_ms(Plan(chain.model)))
    attentions = [block.name for block in chain.blocks if MERGE not in block.choices]
    space = Space.of(chain, [limit], keep=attentions, only=[MERGE])
    return Landscape(space, scores.__getitem__, max(score for plan, score in scores.items() if space.admits(plan)))


def found(landscape: Landscape, sampler: str, evaluations: int, seed: int) -> Array:
    """(evaluations,) best found / optimum after each evaluation; 0 as long as nothing within the limits was seen."""
    result = search(
        landscape.space,
        evaluate=lambda plans, _bar: [Score(landscape.score(plan)) for plan in plans],
        ledger=Ledger(in_memory(), "study", {}, patience_s=0),
        sampler=known_sampler(sampler),
        stop=Stop(evaluations, gap=-1.0),
        seed=seed,
    )
    best = np.zeros(evaluations)
    for candidate in result.candidates:
        best[candidate.number :] = np.maximum(best[candidate.number :], candidate.score)
    return best / landscape.optimum


def additive(landscape: Landscape, evaluations: int) -> Array:
    """The same for the exact solver on single-block scores alone: what it answers is the last plan that is seen."""
    space = landscape.space
    uncut = landscape.score(space.uncut)
    gains = np.array([landscape.score(space.plan(cut)) - uncut for cut in np.eye(len(space.cuts))])
    plan = solved_plan(space, gains)
    assert plan is not None
    best = np.zeros(evaluations)
    best[1 + len(space.cuts) :] = landscape.score(plan)
    return best / landscape.optimum


def lines_of(title: str, landscapes: Sequence[Landscape], seeds: Sequence[int]) -> list[str]:
    """Rows of the table: one way of searching each, over landscapes paired with seeds."""
    rows = []
    pairs = list(zip(landscapes, seeds, strict=True))
    for sampler in SAMPLERS:
        count, most = FEWER.get(sampler, (len(pairs), AFTER[-1]))
        rows.append(_row(title, OURS[sampler], [found(one, sampler, most, seed) for one, seed in pairs[:count]]))
        print(rows[-1], flush=True)
    rows.append(_row(title, "additive, exact", [additive(one, AFTER[-1]) for one, _ in pairs]))
    print(rows[-1], flush=True)
    return rows


def _row(title: str, name: str, curves: Sequence[Array]) -> str:
    cells = []
    for after in AFTER:
        reached = np.array([curve[after - 1] for curve in curves if len(curve) >= after])
        if not len(reached):
            cells.append("")
            continue
        optimal = int((reached > 1 - 1e-12).sum())
        cells.append(f"{reached.mean():.4f} ({reached.min():.4f}), {optimal}/{len(reached)}")
    return f"| {title} | {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landscape", type=Path, help="where the demo's 4,096 scores are kept (.npy)")
    parser.add_argument("--output", type=Path, default=RESULTS / "search_quality.md")
    parser.add_argument("--only", choices=("synthetic", "demo"))
    asked = parser.parse_args()
    head = " | ".join(f"after {after}" for after in AFTER)
    lines = [
        "Best found / optimum: mean (worst), how often the optimum itself.",
        "",
        f"| landscape | search | {head} |",
        "| --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines), flush=True)
    if asked.only != "synthetic":
        scores = demo_scores(asked.landscape)
        for budget in BUDGETS:
            landscape = demo(scores, budget)
            fitting = sum(landscape.space.admits(plan) for plan in scores)
            title = f"demo's supernet at {budget:g}: {fitting} of {len(scores)} plans fit"
            lines += lines_of(title, [landscape] * SEEDS, range(SEEDS))
    if asked.only != "demo":
        for sites in SIZES:
            seeds = range(INSTANCES)
            lines += lines_of(f"{sites} sites", [synthetic(sites, seed) for seed in seeds], seeds)
    asked.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
