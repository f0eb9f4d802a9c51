"""What each choice gains or loses inside the four networks of UPDP, and what counting operations would have said.

One block of each kind (same shapes, same position) is cut by the choice, all in one network, and that network is timed
beside the whole one in the same interleaved rounds. "By operations" is what would be gained if time went with
multiply-adds.

    python benchmarks/merge_speedup.py    # about 6 minutes; writes benchmarks/results/merge_speedup.{json,md}
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

import depthfinder as df
from latency.devices import open_device
from latency.hardware import processor_name
from latency.timing import time_interleaved
from latency.workbench import Workbench
from profiles.measurement import Ratio
from shared.tables import RESULTS, markdown_table, publish, write_results

MODELS = ("resnet34", "mobilenetv2_100", "convnext_tiny", "deit_tiny_patch16_224")
CHOICES = ("merge", "shrink", "separable", "drop")


@dataclass(frozen=True)
class Line:
    """One choice in one network in one setting."""

    model: str
    device: str
    runtime: str
    batch_size: int
    choice: str
    blocks: int
    whole_ms: float
    ratio: Ratio
    macs_ratio: float
    readings: int

    @property
    def setting(self) -> str:
        return f"{self.device}, batch {self.batch_size}"

    @property
    def gained_ms(self) -> float:
        return self.whole_ms * (1 - self.ratio.value)

    @property
    def by_operations_ms(self) -> float:
        return self.whole_ms * (1 - self.macs_ratio)

    @property
    def text(self) -> str:
        spread_ms = self.whole_ms * (self.ratio.high - self.ratio.low) / 2
        return f"{self.gained_ms:+.1f} ± {spread_ms:.1f} ({self.by_operations_ms:+.1f}) of {self.whole_ms:.1f}"


def one_of_each_kind(chain: df.Chain, choice: str) -> df.Plan:
    kinds = {block.signature: block.name for block in reversed(chain.blocks) if choice in block.choices}
    return chain.plan(dict.fromkeys(kinds.values(), choice))


def multiply_adds(network: torch.nn.Module, images: torch.Tensor) -> float:
    """Of the convolutions, linears and attentions, for the whole batch."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    return counter.get_total_flops() / 2


def merged(model: torch.nn.Module, plan: df.Plan) -> torch.nn.Module:
    cut = df.apply(model, plan)
    cut.set_lambda(0.0)
    return df.merge(cut)


def lines(model: torch.nn.Module, device_name: str, batch_size: int, seconds: float) -> Iterator[Line]:
    chain = df.describe(model)
    device = open_device(device_name)
    bench = Workbench(model, device, batch_size)
    plans = {choice: plan for choice in CHOICES if (plan := one_of_each_kind(chain, choice)).choices}
    plans["whole"] = chain.plan({})
    programs = {name: bench.program_of(plan) for name, plan in plans.items()}
    timings = time_interleaved(programs, seconds=seconds, seed=0)
    whole = timings.measurement("whole")
    macs = {name: multiply_adds(merged(model, plan), bench.images[:1]) for name, plan in plans.items()}
    for choice in list(plans)[:-1]:
        yield Line(
            model=chain.model,
            device=device_name,
            runtime=device.runtime,
            batch_size=batch_size,
            choice=choice,
            blocks=len(plans[choice].choices),
            whole_ms=whole.latency_ms,
            ratio=timings.ratio(choice, "whole"),
            macs_ratio=macs[choice] / macs["whole"],
            readings=whole.n,
        )


def lines_of(found: Sequence[Line]) -> list[str]:
    settings = list(dict.fromkeys(line.setting for line in found))
    of_choice: dict[tuple[str, str], dict[str, Line]] = {}
    for line in found:
        of_choice.setdefault((line.model, line.choice), {})[line.setting] = line
    rows = []
    for (model, choice), cells in of_choice.items():
        blocks = next(iter(cells.values())).blocks
        rows.append((model, choice, blocks, *(cells[one].text if one in cells else "" for one in settings)))
    runtimes = ", ".join(dict.fromkeys(line.runtime for line in found))
    readings = sorted({line.readings for line in found})
    note = (
        "Milliseconds gained, a minus is a loss; in brackets what multiply-adds alone would have said; of the whole "
        f"network's. Lower quartiles of {readings[0]} to {readings[-1]} readings with half the 95 % interval; 224 "
        f"pixels, fp32, 1 thread of a shared {processor_name()}, {runtimes}."
    )
    return [*markdown_table(("network", "choice", "blocks", *settings), rows), "", note]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=MODELS)
    parser.add_argument("--devices", nargs="+", default=("ort-cpu", "cpu"))
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=(1, 8))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the table")
    parser.add_argument("--only", choices=("print",), default=None, help="measure nothing")
    asked = parser.parse_args()
    if asked.only == "print":
        records = json.loads((asked.results / "merge_speedup.json").read_text())
        before = [Line(**record | {"ratio": Ratio(**record["ratio"])}) for record in records]
        publish("merge_speedup", lines_of(before), folder=asked.results)
        return
    found: list[Line] = []
    for name in asked.networks:
        torch.manual_seed(0)
        model = df.load_model(name)
        for device in asked.devices:
            for batch_size in asked.batch_sizes:
                new = list(lines(model, device, batch_size, asked.seconds))
                print(*lines_of(new), "", sep="\n", flush=True)
                found += new
    write_results("merge_speedup", lines_of(found), [asdict(line) for line in found], asked.results)


if __name__ == "__main__":
    main()
