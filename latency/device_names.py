"""The names of all devices, so that a name can be checked without importing any runtime."""

from typing import Final

from latency.errors import UnknownDeviceError
from profiles.registry import nearest_first

# Each with a description in profiles/devices/.
NAMED_GPUS: Final = (
    *("mi100", "mi210", "mi250x", "mi300x"),
    *("a100", "h100", "v100", "p100", "t4", "p4", "l4", "jetson-orin"),
    *("rtx3090", "rtx4090", "rtx5090", "rtxpro6000"),
)
DEVICE_NAMES: Final = ("cpu", "cuda", "rocm", *NAMED_GPUS, "null", "ort-cpu", "ort-cuda", "ort-migraphx")
"""The names of all known devices."""


def check_device_name(name: str) -> None:
    """Raises `UnknownDeviceError`, with the known names, the nearest first, when no device has that name."""
    if name not in DEVICE_NAMES:
        raise UnknownDeviceError(
            f"no device is called {name!r}; nearest: {', '.join(nearest_first(name, DEVICE_NAMES))}"
        )
