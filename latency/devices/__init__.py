"""The devices there are: one file each."""

from latency.device import open_device
from latency.devices.cpu import TorchCpu
from latency.devices.null import Null
from latency.devices.ort_cpu import OrtCpu

__all__ = ["Null", "OrtCpu", "TorchCpu", "open_device"]
