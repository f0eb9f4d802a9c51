"""How networks are run on a device, as plain data."""

from dataclasses import dataclass
from typing import Literal

Dtype = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class Mode:
    """Every difference makes another setting of a profile.

    `threads` are the processor's (of a GPU the one that feeds it), `channels_last` lays images out as NHWC in memory,
    `compiled` runs networks through `torch.compile`.
    """

    threads: int = 1
    dtype: Dtype = "fp32"
    channels_last: bool = False
    compiled: bool = False
