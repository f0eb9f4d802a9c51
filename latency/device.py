"""Where latency is measured and by which runtime: the base class of devices, and the registry of known devices."""

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
from pruner.algebra.answer import answering
from pruner.algebra.flow import Wire, row

Fragment = TypeVar("Fragment")
"""What a device compiles a module to."""
TORCH_DTYPES: Final[dict[str, torch.dtype]] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Device(ABC, Generic[Fragment]):
    """Compiles modules to fragments, and assembles fragments into programs that can be timed."""

    name: ClassVar[str]
    """The name under which the device is registered, such as `ort-cpu`."""
    dtypes: ClassVar[tuple[Dtype, ...]] = ("fp32",)
    """The dtypes that networks can run in."""
    has_layouts: ClassVar[bool] = False
    """Whether the device can run networks channels-last and through `torch.compile`."""
    reference_size: ClassVar[int] = 512
    """The side of the square matrices whose product gauges the device's speed."""
    on_processor: ClassVar[bool] = True
    """Whether the processor does the work."""
    has_peak: ClassVar[bool] = True
    """Whether the programs that gauge the device also give its peak rates, so that rooflines can be computed."""

    def __init__(self, mode: Mode | None = None) -> None:
        """Opens the device.

        Args:
            mode: How networks are to be run; the default is one thread and fp32.

        Raises:
            UnsupportedModeError: when the device cannot run networks in that mode.
        """
        self.mode = mode or Mode()
        self.check_mode(self.mode)

    @classmethod
    def check_mode(cls, mode: Mode) -> None:
        """Raises `UnsupportedModeError` when the device cannot run networks in `mode`."""
        if mode.dtype not in cls.dtypes:
            raise UnsupportedModeError(f"{cls.name} runs {' and '.join(cls.dtypes)}, not {mode.dtype}")
        if (mode.channels_last or mode.compiled) and not cls.has_layouts:
            raise UnsupportedModeError(f"channels-last and torch.compile are PyTorch's: {cls.name} has neither")

    @classmethod
    def absence(cls) -> str | None:
        """Returns why the device cannot be used on this machine, or None if it can."""
        return None

    @abstractmethod
    def compile(self, module: nn.Module, *inputs: Tensor) -> Fragment:
        """Compiles one module to a fragment.

        Args:
            module: The module, in fp32 on the processor. It gives a tensor, or a tuple of tensors.
            inputs: (B, ...), examples of what it takes.
        """

    @abstractmethod
    def assemble(self, fragments: Sequence[Fragment], wires: Sequence[Wire], inputs: Sequence[Tensor]) -> Program:
        """Builds the program that runs `fragments` in order.

        A fragment may stand in several places. It then has weights of its own in each: a network whose blocks share
        their weights keeps them in the cache, and is faster than the one that will be deployed.

        Args:
            fragments: What `compile` returned, in running order.
            wires: How each is connected with the others. The tensors that enter have the first numbers, from 0 on, and
                the program gives what the last fragment gives.
            inputs: (B, ...), the tensors that enter.
        """

    def load_file(self, path: Path, batch_size: int) -> Program:
        """Builds the program of an ONNX file.

        Raises:
            UnsupportedModeError: when the device runs no ONNX files, or cannot run this one at that batch size.
        """
        raise UnsupportedModeError(f"{self.name} runs no ONNX files; ort-cpu does: --device ort-cpu")

    @property
    @abstractmethod
    def runtime(self) -> str:
        """Name and version of the runtime that runs the programs."""

    @property
    def hardware(self) -> str:
        """The name of the hardware that does the work, which tells it from other hardware."""
        return processor()

    @property
    def one_thread(self) -> bool:
        """Whether a single thread of the processor does the work, so that processor time confirms the latency."""
        return self.on_processor and self.mode.threads == 1

    @property
    def memory_bytes(self) -> int:
        """The size in bytes of the memory that holds the networks."""
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def setting(self, batch_size: int) -> Setting:
        """Returns the setting that figures measured here belong to, at `batch_size` images per run."""
        mode = self.mode
        where = (self.name, self.hardware, self.runtime, mode.dtype, batch_size, mode.threads)
        return Setting(*where, mode.channels_last, mode.compiled)

    def load(self, network: nn.Module, images: Tensor) -> Program:
        """Builds the program of a whole network that runs on `images` (B, ...)."""
        network = answering(network.eval(), images)
        return self.assemble([self.compile(network, images)], row(1), (images,))


DEVICES: Final = Registry[type[Device[Any]]]("device", UnknownDeviceError)
"""The known devices by name, whether or not they are on this machine."""


def device(cls: type[Device[Any]]) -> type[Device[Any]]:
    """Registers a device class under its name; a class decorator.

    Raises:
        ValueError: when the name is taken.
    """
    DEVICES.add(cls.name, cls)
    return cls


def known_device(name: str) -> type[Device[Any]]:
    """Returns the class of a device, whether or not the device is on this machine.

    Raises:
        UnknownDeviceError: when there is no such device; the message lists the known names, the nearest first.
    """
    return DEVICES.known(name)


def open_device(name: str, mode: Mode | None = None) -> Device[Any]:
    """Opens a device by its name.

    Args:
        name: A registered name, such as `cpu`, `cuda` or `ort-cpu`.
        mode: How networks are to be run; the default is one thread and fp32.

    Raises:
        UnknownDeviceError: when there is no such device.
        DeviceMissingError: when the device is not on this machine, with the reason.
        UnsupportedModeError: when the device cannot run networks in that mode.

    Example:
        >>> from latency.devices import open_device
        >>> open_device("null").setting(batch_size=8).batch_size
        8
    """
    found = known_device(name)
    absence = found.absence()
    if absence is not None:
        raise missing(name, absence)
    return found(mode)


def missing(name: str, absence: str, model: str | None = None) -> DeviceMissingError:
    """Builds the error for a device that is not on this machine, with a message that says what can be done instead.

    Args:
        name: The device that was asked for.
        absence: Why it cannot be used.
        model: The network that was asked about, if one was named.
    """
    profile = f"depthfinder profile {'' if model is None else f'--model {model} '}--device {name}"
    ways = [
        "type the same on a machine that has it",
        f"`{profile} --kit kit.zip` packs what to measure, to be run there and read back with `profile --import`",
    ]
    if name in description_names():
        ways.append(f"`{profile} --modelled` builds the table from published timings, which a search goes by")
    ways.append("take another device: `depthfinder devices` says which are here")
    return DeviceMissingError("\n".join([f"{name} is not here: {absence}. Ways on:", *(f"  - {way}" for way in ways)]))
