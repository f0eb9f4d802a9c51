"""Eight workers on a real PostgreSQL, two of which die: every plan once, and the winner that one worker finds."""

import itertools
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from latency.devices.null import Null
from latency.profiler import profile
from networks import made
from postgres import Postgres
from pruner.choices.plan import Plan
from pruner.network.surgery import describe
from pruner.scoring.score import Score
from search.candidate import SearchResult
from search.limits import LatencyLimit
from search.samplers import known_sampler
from search.search import Stop, search
from search.space import Space
from search.storage.ledger import Ledger
from search.storage.opening import open_storage

TRIALS = 20
SLOWLY_S = 0.05


def space() -> Space:
    model = made("digits", 0)
    chain, table = describe(model), profile(model, Null(), max_seconds=0.1)
    return Space.of(chain, [LatencyLimit(table, 0.6 * table.latency_ms(Plan(chain.model)))])


def score(plan: Plan) -> float:
    """Every cut costs something, and neighbours cost more together."""
    cut = sorted(int(name.split(".")[1]) + name.endswith("mlp") / 2 for name in plan.choices)
    harm = 0.05 * sum(1 + place % 1.5 for place in cut)
    return 0.9 - harm - 0.04 * sum(after - before < 1 for before, after in itertools.pairwise(cut))


def work(url: str, log: Path, peers: int, dies_at: int | None) -> SearchResult:
    """One worker; it writes down what it evaluates, and the one that is to die does so in the middle of a plan."""
    evaluated = 0

    def evaluate(plans: Sequence[Plan], _bar: float) -> list[Score]:
        nonlocal evaluated
        scores = []
        for plan in plans:
            evaluated += 1
            time.sleep(SLOWLY_S)
            if evaluated == dies_at:
                os._exit(9)
            scores.append(Score(score(plan)))
        with log.open("a") as file:
            file.writelines(json.dumps(dict(plan.choices)) + "\n" for plan in plans)
        return scores

    return search(
        space(),
        evaluate=evaluate,
        ledger=Ledger(open_storage(url), "study", {"what": "a test"}, patience_s=3),
        sampler=known_sampler("auto"),
        stop=Stop(TRIALS, gap=-1.0),
        peers=peers,
    )


@pytest.mark.grid  # two workers that find what one finds are in tests/depthfinder/cli/test_search_command.py
def test_eight_workers_of_which_two_die_find_what_one_finds(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.new_database()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["networks", "latency.profiler", "search.samplers", "search.storage.opening"])
    log, alone = tmp_path / "eight.log", tmp_path / "one.log"
    workers = [
        context.Process(target=work, args=(url, log, 8, 1 if index < 2 else None), daemon=True) for index in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert sorted(worker.exitcode for worker in workers) == [0] * 6 + [9] * 2

    one = work(f"journal:///{tmp_path / 'study.journal'}", alone, 1, None)
    eight = work(url, tmp_path / "late.log", 8, None)
    assert not (tmp_path / "late.log").exists(), "who comes when all is done evaluates nothing"
    assert eight.num_evaluations == one.num_evaluations == TRIALS
    assert eight == one
    lines = log.read_text().splitlines()
    assert len(lines) == len(set(lines)) == TRIALS
    assert sorted(lines) == sorted(alone.read_text().splitlines())
