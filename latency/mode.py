"""How networks are run on a device, as plain data."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from profiles.option import CHECKED, Option

Dtype = Literal["fp32", "fp16", "bf16"]

PANEL: Final = "Device and budget"


@dataclass(frozen=True, config=CHECKED)
class Mode:
    """Every difference makes another setting of a profile.

    `threads` are the processor's (of a GPU the one that feeds it), `channels_last` lays images out as NHWC in memory,
    `compiled` runs networks through `torch.compile`.
    """

    PANEL: ClassVar = PANEL

    threads: Annotated[int, Option("Threads that the device may use."), Field(ge=1)] = 1
    dtype: Annotated[Dtype, Option("Numbers that the network computes with.")] = "fp32"
    channels_last: Annotated[bool, Option("Lay images out as NHWC in memory (PyTorch).")] = False
    compiled: Annotated[bool, Option("Run networks through torch.compile (PyTorch).", ("--torchcompile",))] = False
