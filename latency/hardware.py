"""What a machine calls its processor and its GPU. It takes the standard library alone, and torch where a GPU is asked
about: this file travels in kits."""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def processor_name() -> str:
    """The processor by its own name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def processor() -> str:
    """What tells this processor from another."""
    return f"{processor_name()}, {os.cpu_count()} cores"


def gpu_absence(wanted: str) -> str | None:
    """Why this PyTorch sees no GPU of the platform wanted, 'cuda' or 'rocm'; None when it does."""
    import torch

    here = gpu_platform()
    if here != wanted:
        return f"torch {torch.__version__} is {f'built for {here}' if here else 'a build for the processor alone'}"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} is built for {here} and sees no GPU"
    return None


def other_gpu(arch: str, matches: Sequence[str], title: str) -> str | None:
    """What the first GPU is, when it is not of that architecture or bears none of those words in its name."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    found = f"{properties.name} ({architecture(properties)})"
    if architecture(properties) != arch:
        return f"the GPU is {found}; {title} is {arch}"
    if matches and not any(re.search(rf"\b{re.escape(word)}\b", properties.name) for word in matches):
        return f"the GPU is {found}, not {title}"
    return None


def gpu() -> str:
    """What tells the first GPU from another."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name} {architecture(properties)}, {properties.multi_processor_count} units"


def gpu_platform() -> str | None:
    """'rocm' or 'cuda', as this PyTorch was built; None for a build without GPUs."""
    import torch

    return "rocm" if torch.version.hip else "cuda" if torch.version.cuda else None


def gpu_runtime() -> str:
    """PyTorch's version, and that of the platform it was built for."""
    import torch

    return f"torch {torch.__version__} {gpu_platform()} {torch.version.hip or torch.version.cuda}"


def architecture(properties: Any) -> str:
    """`gfx908`, as ROCm says it without the features behind a colon; `sm_80`."""
    if gpu_platform() == "rocm":
        return str(properties.gcnArchName).partition(":")[0]
    return f"sm_{properties.major}{properties.minor}"
