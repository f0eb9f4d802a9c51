"""What may become of a block: each choice, and all that is known of it wherever it stands.

`CHOICES` begins with what keeps the whole block and ends with what keeps none of it. What a choice does to one block is
its family's to say (`pruner/families/`); here is what holds for every block.

>>> CHOICES["narrow-50"].label
'half as wide'
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

KEEP: Final = "keep"
MERGE: Final = "merge"
SEPARABLE: Final = "separable"
SHRINK: Final = "shrink"
DROP: Final = "drop"
MERGE_ACT: Final = "merge-act"
NARROW: Final = "narrow"
THIN: Final = "thin"
FIT: Final = "fit"
FIT_3X3: Final = "fit-3x3"
FIT_SEPARABLE: Final = "fit-separable"

Weights = Literal["as they are", "folded", "fitted", "none"]


@dataclass(frozen=True)
class Choice:
    """One thing that a block may become.

    `label` is said of a block that became it, in tables and pictures; `removes` names what goes with it; `colour` is
    what it is drawn in. `weights` says where those of what is left are from: the block's own as they are, its own
    folded into fewer layers, fitted to what the block computes, or none. `width` is the share of the inner width that
    is left. A choice `on_request` is offered only where it is asked for.
    """

    name: str
    label: str
    removes: str
    colour: str
    weights: Weights
    width: float = 1.0
    on_request: bool = False


def _on_request(name: str, label: str, removes: str, colour: str, weights: Weights, width: float = 1.0) -> Choice:
    return Choice(name, label, removes, colour, weights, width, on_request=True)


_ALL: Final = (
    Choice(KEEP, "kept", "nothing", "#1f5f8b", "as they are"),
    _on_request("narrow-75", "three quarters wide", "a quarter of the inner width", "#3a76a0", "fitted", 0.75),
    _on_request("narrow-50", "half as wide", "half of the inner width", "#4f87ad", "fitted", 0.5),
    _on_request("narrow-25", "a quarter as wide", "three quarters of the inner width", "#6b9cbd", "fitted", 0.25),
    _on_request(NARROW, "narrowed", "half of each head's channels", "#4a90a4", "as they are"),
    _on_request(THIN, "thinned behind", "three of ten tokens behind it", "#6b4e9b", "as they are"),
    Choice(MERGE, "merged", "the activations", "#e39b2d", "folded"),
    _on_request(MERGE_ACT, "merged with activation", "all activations but one", "#a8562f", "folded"),
    Choice(SEPARABLE, "separable", "the activations behind the depthwise layer", "#c9772b", "folded"),
    Choice(SHRINK, "shrunk", "the second convolution", "#7a8f3c", "folded"),
    _on_request(FIT, "fitted", "all but one linear layer", "#2a9d8f", "fitted"),
    _on_request(FIT_3X3, "fitted 3x3", "all but one 3x3 convolution", "#21867a", "fitted"),
    _on_request(FIT_SEPARABLE, "fitted separable", "all but a depthwise layer and a 1x1", "#5fb3a8", "fitted"),
    Choice(DROP, "dropped", "the whole branch", "#d9dde1", "none"),
)
CHOICES: Final[Mapping[str, Choice]] = MappingProxyType({choice.name: choice for choice in _ALL})
"""Every choice by its name."""

FOLDS: Final = tuple(one.name for one in CHOICES.values() if one.weights == "folded" and not one.on_request)
"""The choices that make fewer layers of a block's own weights."""

SHARES: Final = MappingProxyType({one.name: one.width for one in CHOICES.values() if one.width < 1})
"""The choices that keep so much of a block's inner width, and fit what is left to what the block computes."""

FITS: Final = tuple(one.name for one in CHOICES.values() if one.weights == "fitted" and one.width == 1)
"""The choices whose one layer has weights of its own, fitted to what the block computes."""

OWN_WEIGHTS: Final = (*SHARES, *FITS)
"""The choices that stand in for a block with weights of their own."""
