"""Makes the tables that ship with the package, and prints what they took: `measured` ones of ort-cpu, `modelled` ones
of the MI100.

    python benchmarks/tables.py    # about 8 minutes; writes profiles/tables/ and benchmarks/results/tables.md
"""

import argparse
import itertools
import time
from pathlib import Path

import torch

import depthfinder as df
from depthfinder.report.profile_pictures import judgement, where_the_time_goes
from latency.devices import Mode, open_device
from latency.mode import Dtype
from latency.modelled import modelled_profile
from latency.profiler import profile
from profiles.profile import Profile
from profiles.store import profile_path, shipped_profiles
from profiles.two_sums import Bound
from profiles.writing import save_profile
from shared.tables import markdown_table, publish

ROOT = Path(__file__).parent.parent
TABLES = ROOT / "profiles" / "tables"
MODELS = ("deit_tiny_patch16_224", "mobilenetv2_100", "resnet34", "convnext_tiny")
SECONDS = 110.0  # as the command has it
DTYPES: tuple[Dtype, ...] = ("fp32", "fp16")


def keep(found: Profile) -> None:
    save_profile(found, profile_path(TABLES, found.model, found.setting))


def measured(model: str) -> None:
    torch.manual_seed(0)
    started = time.monotonic()
    found = profile(df.load_model(model), open_device("ort-cpu"), max_seconds=SECONDS)
    print(f"{model}: {time.monotonic() - started:.0f} s, within {found.relative_error:.1%}", flush=True)
    keep(found)


def modelled(model: str) -> None:
    for dtype, batch_size in itertools.product(DTYPES, (1, 128)):
        keep(modelled_profile(df.load_model(model), "mi100", Mode(dtype=dtype), batch_size=batch_size))


def lines_of_shipped() -> list[str]:
    head = (
        "network",
        "device",
        "dtype",
        "batch",
        "baseline, ms",
        "bound by",
        "judged within",
        "places",
        "distinct rows",
        "seconds",
        "origin",
    )
    rows = []
    for _, found in shipped_profiles():
        setting = found.setting
        low_ms, high_ms = found.interval_ms(df.Plan(found.model))
        judged = f"{found.relative_error:.1%}" if found.anchors else f"({low_ms:.2f} to {high_ms:.2f} ms)"
        seconds = f"{found.seconds:.0f}" if found.anchors else ""
        places = sum(row.blocks for row in found.rows)
        by = Bound.of(found).by if found.has_host else ""
        where = (setting.device, setting.dtype, setting.batch_size)
        figures = (f"{found.baseline_ms:.2f}", by, judged, places, len(found.rows), seconds)
        rows.append((found.model, *where, *figures, found.origin))
    here = next(found.setting for _, found in shipped_profiles() if found.anchors)
    note = (
        f"Measured on {here.hardware}, {here.runtime}, {here.dtype}, {here.threads} thread, 224 pixels. Places are "
        "(block, choice) pairs; each distinct row is measured once. MI100: by published timings alone, the larger of "
        "what kernels take and what the host takes to issue them, with the 90 % interval."
    )
    return [*markdown_table(head, rows), "", note]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=MODELS)
    parser.add_argument("--only", choices=("measured", "modelled", "print"), default=None)
    parser.add_argument("--pictures", type=Path, default=None, help="folder for the pictures of the first network")
    asked = parser.parse_args()
    for model in asked.networks if asked.only != "print" else ():
        if asked.only != "modelled":
            measured(model)
        if asked.only != "measured":
            modelled(model)
    if asked.pictures:
        pictured = next(found for _, found in shipped_profiles() if found.anchors and found.model == MODELS[0])
        (asked.pictures / "where-the-time-goes.svg").write_text(where_the_time_goes(pictured))
        (asked.pictures / "predicted.svg").write_text(judgement(pictured))
    publish("tables", lines_of_shipped())


if __name__ == "__main__":
    main()
