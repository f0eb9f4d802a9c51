"""How networks are run on a device, as plain data."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from profiles.option import CHECKED, Option

Dtype = Literal["fp32", "fp16", "bf16"]
"""The numbers that a network computes with."""

PANEL: Final = "Device and budget"
"""The heading under which the command line lists these options."""


@dataclass(frozen=True, config=CHECKED)
class Mode:
    """How networks are run on a device; latencies of two modes are never mixed.

    Attributes:
        threads: Threads of the processor that run the network; with a GPU, those that launch its kernels.
        dtype: The numbers that the network computes with.
        channels_last: Whether images lie in memory as NHWC.
        compiled: Whether networks run through `torch.compile`.
    """

    PANEL: ClassVar = PANEL

    threads: Annotated[int, Option("Threads that the device may use."), Field(ge=1)] = 1
    dtype: Annotated[Dtype, Option("Numbers that the network computes with.")] = "fp32"
    channels_last: Annotated[bool, Option("Lay images out as NHWC in memory (PyTorch).")] = False
    compiled: Annotated[bool, Option("Run networks through torch.compile (PyTorch).", ("--torchcompile",))] = False
