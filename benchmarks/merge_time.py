"""How long `merge` takes on one core, for random plans and with every block merged.

python benchmarks/merge_time.py    # about a minute; writes benchmarks/results/merge_time.{json,md}
"""

import argparse
import time
from random import Random

import torch

import depthfinder as df
from latency.hardware import processor_name
from shared.tables import markdown_table, write_results

MODELS = ("resnet34", "mobilenetv2_100", "convnext_tiny", "deit_small_patch16_224")
RANDOM_PLANS = 5
SHARE_CUT = 0.5
HEADER = ("network", "random plans, median", "slowest", "every block merged")


def seconds_to_merge(model: torch.nn.Module, plan: df.Plan) -> float:
    cut = df.apply(model, plan)
    cut.set_lambda(0.0)
    started = time.perf_counter()
    df.merge(cut)
    return time.perf_counter() - started


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in MODELS:
        model = df.load_model(name)
        chain = df.describe(model)
        all_merged = chain.plan({block.name: "merge" for block in chain.blocks if "merge" in block.choices})
        plans = [chain.random_plan(SHARE_CUT, Random(seed)) for seed in range(RANDOM_PLANS)]
        seconds = sorted(seconds_to_merge(model, plan) for plan in plans)
        whole = sorted(seconds_to_merge(model, all_merged) for _ in range(3))[1]
        rows.append((name, seconds[len(seconds) // 2], seconds[-1], whole))
        print(*rows[-1], flush=True)
    note = f"{RANDOM_PLANS} random plans that cut half of the blocks, 1 thread of a shared {processor_name()}."
    lines = [*markdown_table(HEADER, [(name, *(f"{each:.2f} s" for each in times)) for name, *times in rows]), "", note]
    write_results("merge_time", lines, [dict(zip(HEADER, row, strict=True)) for row in rows])


if __name__ == "__main__":
    main()
