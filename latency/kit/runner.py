"""Measures a kit on the machine that it was carried to, and writes the readings; this file is packed into kits."""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latency.rounds import Program, Rounds, take_rounds

RESULTS = "depthfinder.results/1"
"""The schema of the file of readings."""
_SHARE_ALONE = 0.2


def main(folder: Path, words: Sequence[str] | None = None) -> None:
    """Measures the kit in a folder and writes the readings to results.json, or to the path given as --out.

    Args:
        folder: The unpacked kit.
        words: The arguments of the command line; by default those of this process.

    Raises:
        SystemExit: when a file of the kit was altered, or this machine is not the one that the kit is for.
    """
    parser = argparse.ArgumentParser(description="Measures a kit of Depthfinder on this machine.")
    parser.add_argument("--max-seconds", type=float, default=None, help="time to spend on measuring")
    parser.add_argument("--out", type=Path, default=Path("results.json"))
    asked = parser.parse_args(words)
    started = time.monotonic()
    _check_whole(folder)
    text = (folder / "kit.json").read_text(encoding="utf-8")
    kit = json.loads(text)
    seconds = asked.max_seconds or kit["max_seconds"]
    runner = _runner(kit, folder)
    alone = _timed(kit["alone"], runner, _SHARE_ALONE * seconds, kit["seed"])
    left = max(0.0, seconds - (time.monotonic() - started))
    whole = _timed(kit["whole"], runner, left, kit["seed"])
    record = {
        "schema": RESULTS,
        "kit": kit,
        "kit_digest": hashlib.sha256(text.encode()).hexdigest(),
        "hardware": runner.hardware,
        "runtime": runner.runtime,
        "seconds": time.monotonic() - started,
        "alone": _plain(alone),
        "whole": _plain(whole),
    }
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    written = asked.out.with_name(asked.out.name + ".writing")
    written.write_text(json.dumps({**record, "digest": digest}) + "\n", encoding="utf-8")
    written.replace(asked.out)
    print(
        f"{asked.out}: {len(whole)} programs on {runner.hardware}; back home: depthfinder profile --import {asked.out}"
    )


def _runner(kit: Mapping[str, Any], folder: Path) -> Any:
    """Opens the runner of the kit's runtime; the other runtime may not be installed here, so it is not imported."""
    if kit["kind"] == "torch":
        from latency.kit.torch_runner import TorchRunner

        return TorchRunner(kit, folder)
    from latency.kit.onnx_runner import OnnxRunner

    return OnnxRunner(kit, folder)


def _timed(programs: Mapping[str, Any], runner: Any, seconds: float, seed: int) -> Rounds:
    made: dict[str, Program] = {name: runner.program(entry) for name, entry in programs.items()}
    return take_rounds(made, seconds=seconds, seed=seed, progress=_told)


def _told(done: int, total: int, note: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} rounds, {note}   ", end="" if done < total else "\n", file=sys.stderr)


def _plain(rounds: Rounds) -> dict[str, list[list[list[float]]]]:
    return {
        name: [[[reading.wall_ms, reading.cpu_ms] for reading in visit] for visit in visits]
        for name, visits in rounds.items()
    }


def _check_whole(folder: Path) -> None:
    """Raises `SystemExit` when a file of the kit is missing or was altered."""
    for name, digest in json.loads((folder / "checksums.json").read_text(encoding="utf-8")).items():
        if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise SystemExit(f"{name} is not as it was packed; unpack the kit again")
