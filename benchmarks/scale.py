"""How a search grows with the network: what choosing plans takes beside evaluating them.

    python benchmarks/scale.py

Chains of so many blocks, each with so many ways of being cut, whose scores are planted: a gain for every cut and for
every pair of cuts, in log odds, so that a score takes no time. `searches` are whole searches of 2,000 plans, with the
ledger in memory; `rounds` are one round of proposals each, behind 200 plans that were drawn at random. Each runs in a
process of its own, one after another, on one thread; memory is the most that the process held. The table goes to
`benchmarks/results/`.
"""

import argparse
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from random import Random
from typing import Final

import numpy as np

from latency.hardware import processor_name
from pruner.choices.chain import Block, Chain
from pruner.choices.choice import KEEP
from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.feasible import feasible_plan, random_wish
from search.limits import SizeLimit
from search.samplers import known_sampler
from search.search import Stop, search
from search.space import Array, Space
from search.storage.ledger import Entry, Ledger, Proposal, in_memory
from shared.spreads import median_and_range
from shared.tables import markdown_table, publish

SAMPLER: Final = "prefix"
TRIALS: Final = 2_000
HISTORY: Final = 200
SHARE: Final = 0.7
SEARCHES: Final = ((12, 2), (24, 2), (24, 6), (40, 6))
ROUNDS: Final = ((24, 2), (50, 6), (100, 2), (100, 6), (200, 6))
SEEDS: Final = (0, 1, 2)


@dataclass(frozen=True)
class Job:
    """So many blocks with so many cuts each; a whole search, or one round."""

    what: str
    blocks: int
    cuts: int
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    seeds = parser.parse_args().seeds
    sizes = {"searches": SEARCHES, "rounds": ROUNDS}
    jobs = [Job(what, *size, seed) for what, some in sizes.items() for size in some for seed in seeds]
    records = []
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    for job in jobs:
        # A new process each, whose memory is its own.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            seconds, memory_gb = pool.submit(carried_out, job).result()
        records.append(asdict(job) | {"seconds": seconds, "memory_gb": memory_gb})
        print(f"{job}: {seconds:.1f} s, {memory_gb:.2f} GB", flush=True)
    lines = [f"{processor_name()}, 1 thread, sampler {SAMPLER}", ""]
    lines += lines_of(records, "searches", f"a search of {TRIALS:,} plans, s")
    lines += ["", *lines_of(records, "rounds", f"a round behind {HISTORY} plans, s")]
    publish("scale", lines, records)


def carried_out(job: Job) -> tuple[float, float]:
    """Seconds of choosing, and the most memory that this process has held, in GB."""
    seconds = WHATS[job.what](planted_space(job), job.seed)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def planted_space(job: Job) -> Space:
    """Blocks of two kinds, the first cut of which saves least; plans may keep `SHARE` of what there is."""
    random = np.random.default_rng(job.seed)
    choices = (KEEP, *(f"cut-{number}" for number in range(1, job.cuts + 1)))
    blocks = tuple(
        Block(f"blocks.{place}", "ffn" if place % 2 else "attn", f"block {place}", choices)
        for place in range(job.blocks)
    )
    sizes = {
        (block.name, choice): float(size) * (1 - number / len(choices))
        for block, size in zip(blocks, random.uniform(0.5, 1.5, job.blocks), strict=True)
        for number, choice in enumerate(choices)
    }
    whole = sum(sizes[block.name, KEEP] for block in blocks)
    return Space.of(
        Chain("planted", "any", (3, 32, 32), blocks), [SizeLimit("parameters", SHARE * whole, whole, sizes)]
    )


def scorer(space: Space, seed: int) -> Callable[[Array], float]:
    """Vectors of cuts -> a score in (0, 1)."""
    random = np.random.default_rng(seed + 1)
    count = len(space.cuts)
    single = -np.abs(random.normal(0, 4 / space.places.max(), count))
    pairs = np.triu(random.normal(0, 2 / space.places.max() ** 1.5, (count, count)), 1)
    return lambda vector: float(1 / (1 + np.exp(-(3 + vector @ single + vector @ pairs @ vector))))


def whole_search(space: Space, seed: int) -> float:
    """All of it less what the planted scores took."""
    score, scoring_s = scorer(space, seed), 0.0

    def evaluate(plans: Sequence[Plan], _bar: float) -> list[float]:
        nonlocal scoring_s
        began = time.perf_counter()
        found = [score(space.vector(plan)) for plan in plans]
        scoring_s += time.perf_counter() - began
        return found

    began = time.perf_counter()
    search(
        space,
        evaluate=evaluate,
        ledger=Ledger(in_memory(), "study", {}, patience_s=0),
        sampler=known_sampler(SAMPLER),
        stop=Stop(TRIALS),
        seed=seed,
    )
    return time.perf_counter() - began - scoring_s


def one_round(space: Space, seed: int) -> float:
    """Proposing, behind plans that are drawn and scored before."""
    random, score = Random(seed), scorer(space, seed)
    history: dict[Plan, Entry] = {}
    while len(history) < HISTORY:
        plan = feasible_plan(space, random_wish(space, random), random)
        assert plan is not None, "there is room for plans"
        value = Score(score(space.vector(plan)))
        history[plan] = Entry(len(history), 0, Proposal(plan, "random"), 0.0, score=value)
    sampler = known_sampler(SAMPLER)
    began = time.perf_counter()
    sampler.propose(space, list(history.values()), sampler.round_size, TRIALS, seed)
    return time.perf_counter() - began


WHATS: Final = {"searches": whole_search, "rounds": one_round}


def lines_of(records: Sequence[dict[str, float]], what: str, head: str) -> list[str]:
    """A table of one of the two."""
    rows = []
    sizes = dict.fromkeys((one["blocks"], one["cuts"]) for one in records if one["what"] == what)
    for size in sizes:
        of = [one for one in records if one["what"] == what and (one["blocks"], one["cuts"]) == size]
        seconds = median_and_range([one["seconds"] for one in of], digits=1)
        rows.append((*size, seconds, f"{max(one['memory_gb'] for one in of):.2f}"))
    return markdown_table(("blocks", "cuts each", head, "GB at the most"), rows)


if __name__ == "__main__":
    main()
