"""Two profiles of one network under different loads: do they agree within 3 % on the whole, or is it said why not?

    python benchmarks/steadiness.py    # about 7 minutes; writes results/steadiness.md

Each network is profiled twice on a quiet machine and once with as many busy loops beside it as `--loops` says, and
every profile is compared with the first.
"""

import argparse

import torch

import depthfinder as df
from latency.devices import Mode, open_device
from latency.profiler import profile
from profiles.difference import difference
from profiles.profile import Profile
from shared.busy_loops import busy_loops
from shared.tables import markdown_row, markdown_table, write_results


def profiled(model: str, threads: int, loops: int, seconds: float) -> Profile:
    torch.manual_seed(0)
    with busy_loops(loops):
        return profile(df.load_model(model), open_device("ort-cpu", Mode(threads=threads)), max_seconds=seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=("mobilenetv2_100",))
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--loops", type=int, default=1)
    parser.add_argument("--table-seconds", type=float, default=60.0)
    asked = parser.parse_args()
    head = ("network", "threads", "other core", "baseline, ms", "against the first", "CPU share", "what the tool says")
    rows = []
    for model in asked.networks:
        for threads in asked.threads:
            first = None
            for load, loops in (("quiet", 0), ("quiet", 0), ("busy loop", asked.loops)):
                found = profiled(model, threads, loops, asked.table_seconds)
                conditions = found.conditions
                assert conditions is not None
                said = difference(first, found).verdict if first else (conditions.noise or "steady")
                whole = f"{found.baseline_ms / first.baseline_ms:.3f}" if first else ""
                figures = (f"{found.baseline_ms:.2f}", whole, f"{conditions.cpu_share or 0:.0%}", said)
                rows.append((model, threads, load, *figures))
                print(markdown_row(rows[-1]), flush=True)
                first = first or found
    where = f"{found.setting.hardware}, {found.setting.runtime}, fp32, batch 1, 224 pixels"
    note = f"Profiles of {asked.table_seconds:.0f} s each, of ort-cpu on {where}."
    write_results("steadiness", [*markdown_table(head, rows), "", note])


if __name__ == "__main__":
    main()
