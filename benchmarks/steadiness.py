"""Two profiles of one network under different loads: do they agree within 3 % on the whole, or is it said why not?

    python benchmarks/steadiness.py    # about 7 minutes; writes results/steadiness.md

Each network is profiled twice on a quiet machine and once with as many busy loops beside it as `--loops` says, and
every profile is compared with the first.
"""

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

import depthfinder as df
from latency.devices import Mode, open_device
from latency.profiler import profile
from profiles.difference import difference
from profiles.profile import Profile

RESULTS = Path(__file__).parent / "results"


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in beside:
            process.kill()
            process.wait()


def profiled(model: str, threads: int, loops: int, seconds: float) -> Profile:
    torch.manual_seed(0)
    with busy(loops):
        return profile(df.load_model(model), open_device("ort-cpu", Mode(threads=threads)), max_seconds=seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=("mobilenetv2_100",))
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--loops", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    head = ("network", "threads", "other core", "baseline, ms", "against the first", "CPU share", "what the tool says")
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for model in asked.models:
        for threads in asked.threads:
            first = None
            for load, loops in (("quiet", 0), ("quiet", 0), ("busy loop", asked.loops)):
                found = profiled(model, threads, loops, asked.seconds)
                conditions = found.conditions
                assert conditions is not None
                said = difference(first, found).verdict if first else (conditions.noise or "steady")
                whole = f"{found.baseline_ms / first.baseline_ms:.3f}" if first else ""
                figures = (f"{found.baseline_ms:.2f}", whole, f"{conditions.cpu_share or 0:.0%}", said)
                lines.append(f"| {' | '.join((model, str(threads), load, *figures))} |")
                print(lines[-1], flush=True)
                first = first or found
    where = f"{found.setting.hardware}, {found.setting.runtime}, fp32, batch 1, 224 pixels"
    note = f"Profiles of {asked.seconds:.0f} s each, of ort-cpu on {where}."
    (RESULTS / "steadiness.md").write_text("\n".join(lines) + f"\n\n{note}\n")


if __name__ == "__main__":
    main()
