"""PyTorch on GPUs: CUDA and ROCm by one code path, for PyTorch shows both as `torch.cuda`."""

from typing import Any, ClassVar

import torch

from latency import hardware
from latency.device import Device, device
from latency.device_names import NAMED_GPUS
from latency.devices.torch_device import TorchDevice
from profiles.descriptions import load_description


class TorchGpu(TorchDevice):
    """The GPU that PyTorch puts first."""

    place = "cuda"
    on_processor = False
    reference_size = 4096
    platform: ClassVar[str]
    """'cuda' or 'rocm': which build of PyTorch can see it."""

    @classmethod
    def absence(cls) -> str | None:
        return hardware.gpu_absence(cls.platform)

    @property
    def runtime(self) -> str:
        return hardware.gpu_runtime()

    @property
    def hardware(self) -> str:
        return hardware.gpu()

    @property
    def memory_bytes(self) -> int:
        return int(torch.cuda.get_device_properties(0).total_memory)


@device
class Cuda(TorchGpu):
    """Any GPU of NVIDIA's."""

    name = "cuda"
    platform = "cuda"


@device
class Rocm(TorchGpu):
    """Any GPU of AMD's that this PyTorch runs on."""

    name = "rocm"
    platform = "rocm"


class NamedGpu(TorchGpu):
    """A GPU of one kind, and no other."""

    @classmethod
    def absence(cls) -> str | None:
        wanted = load_description(cls.name)
        return super().absence() or hardware.other_gpu(wanted.arch, wanted.matches, wanted.title)


def _named(name: str, platform: str) -> type[Device[Any]]:
    return type(name, (NamedGpu,), {"name": name, "platform": platform, "__doc__": f"The GPU described as {name}."})


for _name in NAMED_GPUS:
    device(_named(_name, "rocm" if _name.startswith("mi") else "cuda"))
