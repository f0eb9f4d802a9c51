"""PyTorch on the processor."""

from latency.device import device
from latency.devices.torch_device import TorchDevice


@device
class TorchCpu(TorchDevice):
    """The processor of this machine, running PyTorch."""

    name = "cpu"
    place = "cpu"
