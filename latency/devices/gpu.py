"""PyTorch on GPUs. CUDA and ROCm share one code path, because PyTorch shows both as `torch.cuda`."""

from typing import Any, ClassVar

import torch

from latency import hardware
from latency.device import Device, device
from latency.device_names import NAMED_GPUS
from latency.devices.torch_device import TorchDevice
from profiles.descriptions import load_description


class TorchGpu(TorchDevice):
    """The first GPU that PyTorch sees."""

    place = "cuda"
    on_processor = False
    reference_size = 4096
    platform: ClassVar[str]
    """The build of PyTorch that can see the GPU, 'cuda' or 'rocm'."""

    @classmethod
    def absence(cls) -> str | None:
        """Returns why PyTorch sees no GPU of this platform, or None if it sees one."""
        return hardware.gpu_absence(cls.platform)

    @property
    def runtime(self) -> str:
        """The versions of PyTorch and of the GPU platform."""
        return hardware.gpu_runtime()

    @property
    def hardware(self) -> str:
        """The GPU's name, architecture and number of compute units."""
        return hardware.gpu()

    @property
    def memory_bytes(self) -> int:
        """The GPU's memory in bytes."""
        return int(torch.cuda.get_device_properties(0).total_memory)


@device
class Cuda(TorchGpu):
    """The first NVIDIA GPU, of any kind."""

    name = "cuda"
    platform = "cuda"


@device
class Rocm(TorchGpu):
    """The first AMD GPU, of any kind that this PyTorch runs on."""

    name = "rocm"
    platform = "rocm"


class NamedGpu(TorchGpu):
    """A GPU of one described kind; it is missing where the first GPU is of another kind."""

    @classmethod
    def absence(cls) -> str | None:
        """Returns why this kind of GPU cannot be used here, or None if it can."""
        wanted = load_description(cls.name)
        return super().absence() or hardware.other_gpu(wanted.arch, wanted.matches, wanted.title)


def _named(name: str, platform: str) -> type[Device[Any]]:
    return type(name, (NamedGpu,), {"name": name, "platform": platform, "__doc__": f"The GPU described as {name}."})


for _name in NAMED_GPUS:
    device(_named(_name, "rocm" if _name.startswith("mi") else "cuda"))
