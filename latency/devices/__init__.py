"""The devices that latency can be measured on, one file per runtime."""

from latency.device import DEVICES, Device, known_device, open_device
from latency.devices import cpu, gpu, null, ort
from latency.mode import Mode
from profiles.registry import load_members

__all__ = ["DEVICES", "Device", "Mode", "cpu", "gpu", "known_device", "null", "open_device", "ort"]

load_members(__name__, __path__)
