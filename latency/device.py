"""Where and through what latency is measured: the protocol of a device, and the registry of those that are known."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

import torch
from torch import Tensor, nn

from latency.errors import DeviceMissingError, UnknownDeviceError, UnsupportedModeError
from latency.hardware import processor
from latency.mode import Dtype, Mode
from latency.rounds import Program
from profiles.descriptions import description_names
from profiles.profile import Setting
from profiles.registry import Registry

Fragment = TypeVar("Fragment")
TORCH_DTYPES: Final[dict[str, torch.dtype]] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Device(ABC, Generic[Fragment]):
    """Compiles modules to fragments, and assembles fragments to programs that can be timed."""

    name: ClassVar[str]
    dtypes: ClassVar[tuple[Dtype, ...]] = ("fp32",)
    has_layouts: ClassVar[bool] = False
    """Whether it can run networks channels-last and compiled."""
    reference_size: ClassVar[int] = 512
    """The side of the matrices that gauge its speed."""
    on_processor: ClassVar[bool] = True
    """Whether it is the processor that does the work."""
    has_peak: ClassVar[bool] = True
    """Whether what gauges its speed is also the most that it does."""

    def __init__(self, mode: Mode | None = None) -> None:
        """Raises `UnsupportedModeError` for a mode that it has not."""
        self.mode = mode or Mode()
        self.check_mode(self.mode)

    @classmethod
    def check_mode(cls, mode: Mode) -> None:
        """Raises `UnsupportedModeError` for a mode that the device has not."""
        if mode.dtype not in cls.dtypes:
            raise UnsupportedModeError(f"{cls.name} runs {' and '.join(cls.dtypes)}, not {mode.dtype}")
        if (mode.channels_last or mode.compiled) and not cls.has_layouts:
            raise UnsupportedModeError(f"channels-last and torch.compile are PyTorch's: {cls.name} has neither")

    @classmethod
    def absence(cls) -> str | None:
        """Why the device cannot be used here; None when it can."""
        return None

    @abstractmethod
    def compile(self, module: nn.Module, example: Tensor) -> Fragment:
        """The fragment for one module, given an example (B, ...) of its input, in fp32 on the processor."""

    @abstractmethod
    def assemble(self, fragments: Sequence[Fragment], images: Tensor) -> Program:
        """The program that runs `fragments` one after another, the first of them on `images` (B, ...).

        A fragment may stand in several places, and then has weights of its own in each: a network whose blocks share
        their weights keeps them in the cache, and is faster than the one that will be deployed.
        """

    def load_file(self, path: Path, batch_size: int) -> Program:
        """The program of an ONNX file. Raises `UnsupportedModeError` where the device runs none."""
        raise UnsupportedModeError(f"{self.name} runs no ONNX files; ort-cpu does: --device ort-cpu")

    @property
    @abstractmethod
    def runtime(self) -> str:
        """Name and version of what runs the programs."""

    @property
    def hardware(self) -> str:
        """What tells this device's processor from another."""
        return processor()

    @property
    def one_thread(self) -> bool:
        """Whether one thread of the processor does the work, so that time on the processor is a witness of latency."""
        return self.on_processor and self.mode.threads == 1

    @property
    def memory_bytes(self) -> int:
        """What there is to hold networks in."""
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def setting(self, batch_size: int) -> Setting:
        mode = self.mode
        where = (self.name, self.hardware, self.runtime, mode.dtype, batch_size, mode.threads)
        return Setting(*where, mode.channels_last, mode.compiled)

    def load(self, network: nn.Module, images: Tensor) -> Program:
        """A whole network as one program."""
        return self.assemble([self.compile(network, images)], images)


DEVICES: Final = Registry[type[Device[Any]]]("device", UnknownDeviceError)


def device(cls: type[Device[Any]]) -> type[Device[Any]]:
    """Registers a device under its name. Raises `ValueError` when the name is taken."""
    DEVICES.add(cls.name, cls)
    return cls


def known_device(name: str) -> type[Device[Any]]:
    """The device of that name, here or not. Raises `UnknownDeviceError` with the names there are, the nearest first."""
    return DEVICES.known(name)


def open_device(name: str, mode: Mode | None = None) -> Device[Any]:
    """The device of that name, to run networks in that mode.

    Raises `UnknownDeviceError`, `DeviceMissingError` with the reason when it is not here, and `UnsupportedModeError`.
    """
    found = known_device(name)
    absence = found.absence()
    if absence is not None:
        raise missing(name, absence)
    return found(mode)


def missing(name: str, absence: str, model: str | None = None) -> DeviceMissingError:
    """What is said, everywhere alike, of a device that is wanted and not here, with the ways on; `absence` is why, and
    `model` the network that was asked about, if one was named."""
    profile = f"depthfinder profile {'' if model is None else f'--model {model} '}--device {name}"
    ways = [
        "type the same on a machine that has it",
        f"`{profile} --kit kit.zip` packs what to measure, to be run there and read back with `profile --import`",
    ]
    if name in description_names():
        ways.append(f"`{profile} --modelled` builds the table from published timings, which a search goes by")
    ways.append("take another device: `depthfinder devices` says which are here")
    return DeviceMissingError("\n".join([f"{name} is not here: {absence}. Ways on:", *(f"  - {way}" for way in ways)]))
