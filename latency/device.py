"""Where and through what latency is measured: the protocol of a device, and the registry of those that exist."""

import difflib
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor, nn

from profiles.profile import Setting

Fragment = TypeVar("Fragment")


class UnknownDeviceError(LookupError):
    """No device goes by that name."""


@dataclass(frozen=True)
class Sample:
    """The mean of a few runs in a row."""

    wall_ms: float
    cpu_ms: float


class Program(ABC):
    """A network, or a piece of one, ready to be run on its device."""

    @abstractmethod
    def run(self) -> None:
        """One run, finished when this returns."""

    def sample(self, runs: int) -> Sample:
        """The mean of `runs` runs in a row after one that is not counted: hot, as the network is when deployed."""
        self.run()
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(runs):
            self.run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Sample(wall_ms=wall / runs * 1e3, cpu_ms=cpu / runs * 1e3)


class Device(ABC, Generic[Fragment]):
    """Compiles modules to fragments, and assembles fragments to programs that can be timed."""

    name: ClassVar[str]

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    @abstractmethod
    def compile(self, module: nn.Module, example: Tensor) -> Fragment:
        """The fragment for one module, given an example (B, ...) of its input."""

    @abstractmethod
    def assemble(self, fragments: Sequence[Fragment], images: Tensor) -> Program:
        """The program that runs `fragments` one after another, the first of them on `images` (B, ...).

        A fragment may stand in several places, and then has weights of its own in each: a network whose blocks share
        their weights keeps them in the cache, and is faster than the one that will be deployed.
        """

    @property
    @abstractmethod
    def runtime(self) -> str:
        """Name and version of what runs the programs."""

    @property
    def hardware(self) -> str:
        """The processor's own name."""
        return processor_name()

    def setting(self, batch_size: int) -> Setting:
        return Setting(self.name, self.hardware, self.runtime, "fp32", batch_size, self.threads)

    def load(self, network: nn.Module, images: Tensor) -> Program:
        """A whole network as one program."""
        return self.assemble([self.compile(network, images)], images)


DEVICES: dict[str, type[Device[Any]]] = {}


def device(cls: type[Device[Any]]) -> type[Device[Any]]:
    """Registers a device under its name. Raises `ValueError` when the name is taken."""
    if cls.name in DEVICES:
        raise ValueError(f"there is a device {cls.name!r} already")
    DEVICES[cls.name] = cls
    return cls


def open_device(name: str, threads: int = 1) -> Device[Any]:
    """The device of that name. Raises `UnknownDeviceError` with the names that exist, the nearest first."""
    if name not in DEVICES:
        near = difflib.get_close_matches(name, DEVICES, n=1, cutoff=0.0)
        others = [other for other in DEVICES if other not in near]
        raise UnknownDeviceError(f"no device is called {name!r}; nearest: {', '.join(near + others)}")
    return DEVICES[name](threads)


def processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
