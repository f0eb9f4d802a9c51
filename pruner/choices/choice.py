"""The choices for a block: `keep`, `merge`, `drop` and the others, with what holds for each of them in every block.

`CHOICES` begins with the choice that keeps the whole block and ends with the one that keeps none of it. What a choice
does to a particular block is up to the block's family (`pruner/families/`).

Example:
    >>> from pruner.choices.choice import CHOICES
    >>> CHOICES["narrow-50"].label
    'half as wide'
    >>> [name for name, choice in CHOICES.items() if not choice.on_request]
    ['keep', 'merge', 'separable', 'shrink', 'drop']
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

    Attributes:
        name: The name in plans and settings, such as `merge`.
        label: How tables and pictures describe a block of this choice, such as "merged".
        removes: What the block loses by it.
        colour: The colour that pictures draw it in, as #rrggbb.
        weights: Where the weights of the remaining layers come from: the block's own "as they are", its own "folded"
            into fewer layers, "fitted" to what the block computes, or "none".
        width: The share of the block's inner width that is left, from 0 to 1.
        on_request: Whether the choice is offered only where it is asked for.
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
"""The choices that fold a block's own weights into fewer layers, without those on request."""

SHARES: Final = MappingProxyType({one.name: one.width for one in CHOICES.values() if one.width < 1})
"""Choice -> the share of a block's inner width that it keeps; what is left is fitted to what the block computes."""

FITS: Final = tuple(one.name for one in CHOICES.values() if one.weights == "fitted" and one.width == 1)
"""The choices that replace a block by one new layer, fitted to what the block computes."""

OWN_WEIGHTS: Final = (*SHARES, *FITS)
"""The choices that have weights of their own: narrower blocks and fitted layers."""
