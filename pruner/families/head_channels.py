"""Attention heads with half their channels: the scores that decide which channels stay, and the narrower attention.

After "Automatic Channel Pruning for Multi-Head Attention" (arXiv 2405.20867). From the paper: the channels of query and
key are pruned apart from those of value and projection; every head loses the same number, so that all heads stay of one
width; and a channel counts for less the more it resembles another channel of its head. The paper learns an indicator
for each channel, weighted by dissimilarity, and a module behind it that reweights the channels; its formulas are not
public. Different here are the score below, which needs neither data nor training, the share of a half, and the gate;
nothing reweights the channels, because the network is trained as the gate closes.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruner._timm import Attention
from pruner.algebra.modules import residual
from pruner.choices.forms import Form
from pruner.families.heads import why_not_by_heads

_SHARE: Final = 0.5


def channel_scores(into: Tensor, out_of: Tensor) -> Tensor:
    """Returns a score for each channel of each head: how much it adds that no other channel of the head adds.

    A channel adds a matrix of rank one, the outer product of the weights on its two sides. Its score is the norm of
    this matrix (the product of the norms of the sides) times its dissimilarity: 1 - the largest |cosine| between it and
    the matrix of another channel of the same head (the product of the cosines of the sides).

    Args:
        into: The weights on one side of each channel, (heads, channels, numbers).
        out_of: The weights on the other side, (heads, channels, numbers).

    Returns:
        (heads, channels).
    """
    magnitude: Tensor = torch.linalg.vector_norm(into, dim=-1) * torch.linalg.vector_norm(out_of, dim=-1)
    one, other = functional.normalize(into, dim=-1), functional.normalize(out_of, dim=-1)
    alike = ((one @ one.transpose(-2, -1)) * (other @ other.transpose(-2, -1))).abs()
    itself = torch.eye(alike.shape[-1], dtype=torch.bool, device=alike.device)
    return magnitude * (1 - alike.masked_fill(itself, 0.0).amax(dim=-1))


def kept_channels(scores: Tensor) -> Tensor:
    """Returns the indices of the channels with the best scores in each head, in ascending order.

    Args:
        scores: (heads, channels).

    Returns:
        (heads, kept), where `kept` is half of the channels, rounded up.

    Example:
        >>> import torch
        >>> from pruner.families.head_channels import kept_channels
        >>> kept_channels(torch.tensor([[0.1, 0.9, 0.2, 0.5]]))
        tensor([[1, 3]])
    """
    count = math.ceil(_SHARE * scores.shape[-1])
    return scores.topk(count, dim=-1).indices.sort(dim=-1).values


def why_not_narrow(attention: nn.Module) -> str | None:
    """Returns why the heads of an attention cannot lose channels; None when they can."""
    plain: Any = attention
    why = why_not_by_heads(attention)
    if why is not None:
        return why
    if not (isinstance(plain.q_norm, nn.Identity) and isinstance(plain.k_norm, nn.Identity)):
        return "it normalizes queries and keys by all channels of a head"
    if plain.head_dim < 2:
        return "its heads have one channel"
    return None


@dataclass(frozen=True)
class Narrowed(Form):
    """x + branch(x), where the attention in the branch loses half the channels of its heads.

    The channels are chosen once, by the weights that the network is opened with: training does not change the choice.

    Attributes:
        branch: The modules of the branch in a row, the attention `attn` among them.
        rows: (3 * heads * kept,) the outputs of the attention's `qkv` that stay.
        columns: (heads * kept,) the inputs of its `proj` that stay.
    """

    branch: nn.Sequential
    rows: Tensor
    columns: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, branch: nn.Sequential) -> "Narrowed":
        """Returns the form for a branch, with the channels chosen by the weights of its attention."""
        attention: Any = branch.attn
        heads, width = attention.num_heads, attention.head_dim
        inputs = attention.qkv.weight.unflatten(0, (3, heads, width))
        if attention.qkv.bias is not None:  # a bias is the weight of an input that is always 1
            inputs = torch.cat([inputs, attention.qkv.bias.view(3, heads, width, 1)], dim=-1)
        queries, keys, values = inputs
        outputs = attention.proj.weight.T.unflatten(0, (heads, width))
        first = width * torch.arange(heads, device=inputs.device)[:, None]
        pairs = (first + kept_channels(channel_scores(queries, keys))).flatten()
        columns = (first + kept_channels(channel_scores(values, outputs))).flatten()
        return cls(branch, torch.cat([pairs, heads * width + pairs, 2 * heads * width + columns]), columns)

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the block on tokens (B, N, C), with what the lost channels add scaled by `lam`."""
        y = x
        for name, module in self.branch.named_children():
            y = self._attend(module, y, lam) if name == "attn" else module(y)
        return x + y

    def merged(self) -> nn.Module:
        """Returns a copy of the block with the narrower attention."""
        attention: Any = self.branch.attn
        # What is replaced is not copied.
        branch = copy.deepcopy(self.branch, {id(attention): self._narrowed(attention)})
        return residual(branch)

    def _attend(self, attention: Any, x: Tensor, lam: float) -> Tensor:
        """Runs the attention, with what the lost channels add scaled by lambda; at 0 without those channels."""
        qkv, proj, heads = attention.qkv, attention.proj, attention.num_heads
        if lam == 0:
            rows, columns = self.rows.to(x.device), self.columns.to(x.device)
            y = functional.linear(x, qkv.weight[rows], None if qkv.bias is None else qkv.bias[rows])
        else:
            y = qkv(x) * self._factors(len(qkv.weight), lam, x)
        queries, keys, values = y.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        dropout = attention.attn_drop.p if attention.training else 0.0
        y = functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout, scale=attention.scale)
        y = y.transpose(1, 2).flatten(2)
        y = functional.linear(y, proj.weight[:, columns], proj.bias) if lam == 0 else proj(y)
        dropped: Tensor = attention.proj_drop(y)
        return dropped

    def _factors(self, count: int, lam: float, like: Tensor) -> Tensor:
        """(count,) factors of the outputs of `qkv`: lambda for queries and values that are lost, 1 for the rest. What a
        key adds is scaled by its query."""
        factors = like.new_full((count,), lam)
        factors[self.rows.to(like.device)] = 1
        factors[count // 3 : 2 * (count // 3)] = 1
        return factors

    @torch.no_grad()
    def _narrowed(self, attention: Any) -> nn.Module:
        qkv, proj = attention.qkv, attention.proj
        rows, columns = self.rows.to(qkv.weight.device), self.columns.to(qkv.weight.device)
        narrow: Any = Attention(
            qkv.in_features,
            attention.num_heads,
            attn_head_dim=len(columns) // attention.num_heads,
            dim_out=proj.out_features,
            qkv_bias=qkv.bias is not None,
            proj_bias=proj.bias is not None,
            attn_drop=attention.attn_drop.p,
            proj_drop=attention.proj_drop.p,
        ).to(qkv.weight)
        narrow.fused_attn = attention.fused_attn
        # timm scales by the width of a head, which has changed: the queries make up for the difference.
        scales = torch.ones(len(rows), 1, dtype=qkv.weight.dtype, device=qkv.weight.device)
        scales[: len(columns)] = attention.scale / narrow.scale
        narrow.qkv.weight.copy_(qkv.weight[rows] * scales)
        narrow.proj.weight.copy_(proj.weight[:, columns])
        if qkv.bias is not None:
            narrow.qkv.bias.copy_(qkv.bias[rows] * scales[:, 0])
        if proj.bias is not None:
            narrow.proj.bias.copy_(proj.bias)
        kept: nn.Module = narrow.train(attention.training)
        return kept
