"""Settings of `sparsify`: which groups of weights are removed, and how they are chosen."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from profiles.option import CHECKED, Option


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class MaskConfig:
    """The method that finds the masks, the groups of weights, and the share of them that is removed."""

    PANEL: ClassVar = "Masks"

    method: Annotated[str, Option("What finds the masks: smart, pdp, acdc, pas, awg or magnitude.", is_first=True)] = (
        "smart"
    )
    granularity: Annotated[
        str,
        Option(
            "What goes together: blocks (16x8x1x1: out, in, height, width), channels, or N of M (2:4).", is_first=True
        ),
    ] = "16x8x1x1"
    sparsity: Annotated[
        float | None,
        Option("The share of blocks or channels that goes. N of M has its own.", is_first=True, default_text="0.5"),
    ] = None
    epochs: Annotated[
        int, Option("Epochs in all, the search for the masks and the training under them."), Field(ge=1)
    ] = 8
    search_share: Annotated[float, Option("The share of them after which the masks are decided.")] = 0.6
