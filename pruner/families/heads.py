"""Attentions with fewer heads. The heads that stay are found like the channels of an FFN, by least squares on outputs.

The last matrix of an attention reads its heads. They are computed apart from one another, so that one may be removed
without any change to the others (Michel, Levy and Neubig, "Are Sixteen Heads Really Better than One?", NeurIPS 2019).
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruner._timm import Attention
from pruner.algebra.oddities import first_oddity, why_not_plain
from pruner.algebra.steps import Step
from pruner.choices.choice import SHARES
from pruner.choices.hidden import Hidden, sliced


@dataclass(frozen=True)
class Heads(Hidden):
    """The heads of a timm attention, as units that its last matrix `proj` reads."""

    attention: Any

    @property
    def units(self) -> int:
        """How many heads the attention has."""
        heads: int = self.attention.num_heads
        return heads

    def kept_count(self, choice: str) -> int:
        """Returns the choice's share of the heads, rounded to a whole number and at least one."""
        return max(1, int(SHARES[choice] * self.units + 0.5))

    @torch.no_grad()
    def by_weights(self) -> Tensor:
        """Returns the indices of the heads from the most to the least important, by their values and `proj`."""
        values = self.attention.qkv.weight.unflatten(0, (3, self.units, -1))[2].flatten(1).double().norm(dim=1)
        out_of = self.reader.weight.T.unflatten(0, (self.units, -1)).flatten(1).double().norm(dim=1)
        order: Tensor = (values * out_of).argsort(descending=True, stable=True)
        return order

    def replacements(self, units: Tensor) -> Mapping[nn.Module, nn.Module]:
        """Returns the attention with a copy that has these heads alone."""
        attention = self.attention
        width = attention.head_dim
        columns = (units[:, None] * width + torch.arange(width, device=units.device)).flatten()
        qkv, proj = attention.qkv, attention.proj
        rows = torch.cat([columns + third * len(qkv.weight) // 3 for third in range(3)])
        within: dict[int, Any] = {id(qkv): sliced(qkv, outputs=rows), id(proj): sliced(proj, inputs=columns)}
        narrow = copy.deepcopy(attention, within)
        narrow.num_heads, narrow.attn_dim = len(units), len(columns)
        return {attention: narrow}


def heads_of(attention: nn.Module, behind: tuple[Step, ...]) -> Heads | None:
    """Returns the heads of an attention with the steps `behind` it; None where single heads cannot be removed."""
    plain: Any = attention
    return Heads(plain.proj, behind, plain) if why_not_by_heads(attention) is None else None


def why_not_by_heads(attention: nn.Module) -> str | None:
    """Returns why the matrices of an attention cannot be divided by heads; None when they can."""
    plain: Any = attention
    if type(attention) is not Attention or not hasattr(plain, "attn_dim"):
        return f"its {type(attention).__name__} is no plain attention of heads that may have any width"
    odd = first_oddity(attention)
    if odd is not None:
        return odd
    layers = (plain.qkv, plain.proj)
    odd = next((why for layer in layers if (why := why_not_plain(layer, "linear layer", nn.Linear))), None)
    if odd is not None:
        return odd
    if plain.gate is not None or not isinstance(plain.norm, nn.Identity):
        return "it has a norm or a gate over all channels of the heads"
    return None
