"""A process that works at a study beside others: `one_worker.py JOURNAL COUNTS SECONDS PEERS` prints what it found.

Every plan that it scores becomes a line of the file COUNTS; scoring one takes it so many SECONDS. With `never` as
SECONDS it claims its share, prints a line, and gives no more signs of life.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Sequence

from pruner.choices.chain import Block, Chain
from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.limits import SizeLimit
from search.samplers import known_sampler
from search.search import Stop, search
from search.space import Space
from search.storage.ledger import Ledger
from search.storage.opening import open_storage

N_TRIALS = 28
PATIENCE_S = 1.5


def space() -> Space:
    """Ten blocks of unequal weight, of which at most six tenths may stay."""
    blocks = tuple(Block(f"blocks.{i}", "ffn", "ffn", ("keep", "merge", "drop")) for i in range(10))
    left = {"keep": 1.0, "merge": 0.4, "drop": 0.0}
    sizes = {(block.name, choice): left[choice] * (1 + i % 4) for i, block in enumerate(blocks) for choice in left}
    whole = sum(sizes[block.name, "keep"] for block in blocks)
    return Space.of(Chain("ten", "any", (3, 1, 1), blocks), [SizeLimit("units", 0.6 * whole, whole, sizes)])


def score(plan: Plan) -> float:
    """Each block is worth something, and two neighbours cut cost more than each alone."""
    lost = [{"keep": 0.0, "merge": 0.6, "drop": 1.0}[plan.choice_of(f"blocks.{i}")] for i in range(10)]
    alone = sum((1 + (i * 7) % 5) * one for i, one in enumerate(lost))
    return 0.95 - 0.02 * alone - 0.02 * sum(one * other for one, other in itertools.pairwise(lost))


def main(journal: str, counts: str, seconds: str, peers: str) -> None:
    def evaluate(plans: Sequence[Plan], bar: float) -> list[Score]:
        if seconds == "never":
            print("claimed", len(plans), flush=True)
            os.kill(os.getpid(), 19)  # SIGSTOP: neither the evaluation nor the signs of life go on
        for plan in plans:
            time.sleep(float(seconds))
            with open(counts, "a") as file:  # noqa: PTH123
                file.write(json.dumps(dict(plan.choices)) + "\n")
        return [Score(score(plan)) for plan in plans]

    result = search(
        space(),
        evaluate=evaluate,
        ledger=Ledger(open_storage(f"journal:///{journal}"), "study", {"chain": "ten"}, patience_s=PATIENCE_S),
        sampler=known_sampler("auto"),
        stop=Stop(N_TRIALS, gap=-1.0),
        peers=int(peers),
        seed=3,
    )
    found = [(one.number, dict(one.plan.choices), one.score, one.how) for one in result.candidates]
    print(json.dumps({"found": found, "others": len(result.others), "gap": result.gap, "why": result.stopped}))


if __name__ == "__main__":
    main(*sys.argv[1:])
