"""Names of this machine's processor and GPU.

This file is packed into kits: it imports the standard library alone, and torch where a GPU is asked about.
"""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def processor_name() -> str:
    """Returns the model name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def processor() -> str:
    """Returns the processor's model name and its number of logical cores."""
    return f"{processor_name()}, {os.cpu_count()} cores"


def gpu_absence(wanted: str) -> str | None:
    """Returns why this PyTorch sees no GPU of the platform `wanted` ('cuda' or 'rocm'), or None if it sees one."""
    import torch

    here = gpu_platform()
    if here != wanted:
        return f"torch {torch.__version__} is {f'built for {here}' if here else 'a build for the processor alone'}"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} is built for {here} and sees no GPU"
    return None


def other_gpu(arch: str, matches: Sequence[str], title: str) -> str | None:
    """Says what the first GPU is, if it is not the one that is wanted.

    Args:
        arch: The architecture that is wanted, such as `gfx908` or `sm_80`.
        matches: Words of which the GPU's name has to hold at least one; any name will do if there are none.
        title: The name of the GPU that is wanted, for the message.

    Returns:
        A sentence on the difference, or None if the GPU is the one that is wanted.
    """
    import torch

    properties = torch.cuda.get_device_properties(0)
    found = f"{properties.name} ({architecture(properties)})"
    if architecture(properties) != arch:
        return f"the GPU is {found}; {title} is {arch}"
    if matches and not any(re.search(rf"\b{re.escape(word)}\b", properties.name) for word in matches):
        return f"the GPU is {found}, not {title}"
    return None


def gpu() -> str:
    """Returns the first GPU's name, its architecture and its number of compute units."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name} {architecture(properties)}, {properties.multi_processor_count} units"


def gpu_platform() -> str | None:
    """Returns the platform that this PyTorch was built for: 'rocm', 'cuda', or None for a build without GPUs."""
    import torch

    return "rocm" if torch.version.hip else "cuda" if torch.version.cuda else None


def gpu_runtime() -> str:
    """Returns the versions of PyTorch and of the GPU platform that it was built for."""
    import torch

    return f"torch {torch.__version__} {gpu_platform()} {torch.version.hip or torch.version.cuda}"


def architecture(properties: Any) -> str:
    """Returns a GPU's architecture, such as `sm_80`, or `gfx908` (without the features that ROCm adds after a colon).

    Args:
        properties: What `torch.cuda.get_device_properties` returns.
    """
    if gpu_platform() == "rocm":
        return str(properties.gcnArchName).partition(":")[0]
    return f"sm_{properties.major}{properties.minor}"
