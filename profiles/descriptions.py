"""Published figures of devices: peak rates and memory, with their sources, in one JSON file each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "devices"


@dataclass(frozen=True)
class Description:
    """A device by its vendor's figures.

    Attributes:
        name: The short name of the device.
        title: The full name.
        runtime: `rocm` or `cuda`.
        arch: The architecture as PyTorch names it, such as gfx908 or sm_80.
        matches: Words of PyTorch's name for the device, any of which tells it from others of its architecture; empty
            where there are no others.
        peak_tflops: dtype -> the peak rate, None where there is none; `fp32_matrix` is what a matrix product in fp32
            can reach at full precision.
        memory_gb_s: The bandwidth of the memory, in GB/s.
        memory_gb: The size of the memory, in GB.
        l2_mb: The size of the L2 cache, in MB.
        sources: Where the figures were published.
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
    """The names of all devices that are described."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load_description(name: str) -> Description:
    """The description of a device.

    Raises `KeyError` when no device of that name is described.
    """
    path = _FOLDER / f"{name}.json"
    if name not in description_names():
        raise KeyError(f"no device {name!r} is described; there are: {', '.join(description_names())}")
    record = json.loads(path.read_text(encoding="utf-8"))
    return Description(**record | {"matches": tuple(record["matches"]), "sources": tuple(record["sources"])})
