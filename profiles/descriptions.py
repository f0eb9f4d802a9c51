"""What is published about devices: peak rates and memory, with their sources; one JSON file each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "devices"


@dataclass(frozen=True)
class Description:
    """A device by its vendor's figures.

    `runtime` is rocm or cuda; `arch` is what PyTorch calls its architecture (gfx908, sm_80); `matches` are words of the
    name that PyTorch gives it, any of which tells it from others of its architecture, none where there are no others.
    `peak_tflops` is by dtype, None where there is no such rate; `fp32_matrix` is what a matrix product in fp32 can
    reach at full precision.
    """

    name: str
    title: str
    runtime: str
    arch: str
    matches: tuple[str, ...]
    peak_tflops: Mapping[str, float | None]
    memory_gb_s: float
    memory_gb: float
    l2_mb: float
    compute_units: int
    clock_mhz: float
    note: str
    sources: tuple[str, ...]


def description_names() -> list[str]:
    """The devices described, by name."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load_description(name: str) -> Description:
    """The description of a device. Raises `KeyError` when there is none of that name."""
    path = _FOLDER / f"{name}.json"
    if name not in description_names():
        raise KeyError(f"no device {name!r} is described; there are: {', '.join(description_names())}")
    record = json.loads(path.read_text(encoding="utf-8"))
    return Description(**record | {"matches": tuple(record["matches"]), "sources": tuple(record["sources"])})
