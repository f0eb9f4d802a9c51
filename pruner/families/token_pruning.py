"""An attention behind which a share of the tokens is left out: which ones, by how tokens attend to each other.

After Zero-TPrune (Wang, Dedhia and Jha, "Zero-TPrune: Zero-Shot Token Pruning through Leveraging of the Attention Graph
in Pre-Trained Transformers", CVPR 2024, arXiv 2305.17328). Taken from it: the attention matrix is a directed graph of
the tokens; a token counts as much as the tokens that attend to it do (Weighted Page Rank, s <- A^T s from the uniform
start); the least important go, without any training. Ours are the mean over the heads, where the paper weighs regions
and leaves out heads by their variance; the one number of iterations; the one share; and that a network does it once.
Left out is the paper's second stage, which prunes of the most similar tokens.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from pruner._timm import Attention
from pruner.algebra.oddities import oddity, why_not_plain
from pruner.choices.forms import Form

SHARE_KEPT: Final = 0.7
# On the trained network that ships, over 64 scenes and all blocks, as many iterations keep the tokens that hundreds
# would; after 12 a few scenes still keep another one. On networks drawn at random 8 are enough.
_ITERATIONS: Final = 16


def importance(attention: Tensor) -> Tensor:
    """(B, N): the weighted PageRank of tokens in the graph of an attention (B, heads, N, N) whose rows sum to 1.

    It sums to 1 as well: each token hands on all that it has, shared out by where it attends to.
    """
    graph = attention.mean(dim=1).transpose(-2, -1)
    scores = graph.mean(dim=-1, keepdim=True)  # the first iteration, from 1 / N each
    for _ in range(_ITERATIONS - 1):
        scores = graph @ scores
    return scores.squeeze(-1)


def kept_count(patches: int) -> int:
    """How many of so many tokens stay."""
    return math.ceil(round(SHARE_KEPT * patches, 6))


def why_not_thin(network: Any, attention: nn.Module) -> str | None:
    """Why tokens cannot be left out behind an attention of a timm VisionTransformer; None when they can."""
    plain: Any = attention
    if type(attention) is not Attention:
        return f"its {type(attention).__name__} is no plain attention, whose matrix would be known"
    odd = oddity(attention) or why_not_plain(plain.proj, "linear layer", nn.Linear)
    if odd is not None:
        return odd
    if getattr(plain, "gate", None) is not None:
        return "it has a gate over its own input"
    patches = network.patch_embed.num_patches
    if patches is None or network.patch_embed.dynamic_img_pad or getattr(network, "dynamic_img_size", False):
        return "the number of its tokens depends on the image"
    if not isinstance(network.patch_drop, nn.Identity):
        return "the number of its tokens differs in training"
    if kept_count(patches) == patches:
        return f"it has too few tokens for that: {patches}"
    return None


class Thinning(nn.Module):
    """x + branch(x), the branch a row of modules with an attention `attn` among them, and of that the `prefix` first
    tokens and the `kept` most important others: (B, N, C) -> (B, prefix + kept, C), in their order.

    It runs the branch's own modules. No network has it: a merged one has its operators as a `torch.fx.GraphModule`.
    """

    def __init__(self, branch: nn.Sequential, prefix: int, kept: int) -> None:
        super().__init__()
        self.branch = branch
        self.prefix, self.kept = prefix, kept

    def forward(self, x: Tensor) -> Tensor:
        y, scores = x, x
        for name, module in self.branch.named_children():
            if name == "attn":
                y, matrix = _attend(module, y)
                scores = importance(matrix.detach())
            else:
                y = module(y)
        y = x + y
        places = scores[:, self.prefix :].topk(self.kept, dim=-1, sorted=False).indices.sort(dim=-1).values
        attention: Any = self.branch.attn
        chosen = y[:, self.prefix :].gather(1, places.unsqueeze(-1).expand(-1, -1, attention.proj.out_features))
        return torch.cat([y[:, : self.prefix], chosen], dim=1) if self.prefix else chosen


def _attend(attention: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """What timm's attention makes of tokens (B, N, C), and its matrix (B, heads, N, N)."""
    # Sides by name, not `unflatten`: what is traced for ONNX would have the example's batch in it.
    heads = attention.qkv(x).reshape(x.shape[0], x.shape[1], 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    queries, keys = attention.q_norm(heads[0]), attention.k_norm(heads[1])
    matrix = ((queries * attention.scale) @ keys.transpose(-2, -1)).softmax(dim=-1)
    y = (attention.attn_drop(matrix) @ heads[2]).transpose(1, 2).flatten(2)
    for module in (attention.norm, attention.proj, attention.proj_drop):
        y = module(y)
    return y, matrix


@dataclass(frozen=True)
class Thinned(Form):
    """The block as it is, and behind it fewer tokens: all of them at lambda 1, the most important ones at any other,
    for there is no half of a token."""

    network: Thinning

    def run(self, x: Tensor, lam: float) -> Tensor:
        y: Tensor = self.network(x)
        return y

    def merged(self) -> nn.Module:
        own = copy.deepcopy(self.network)
        return fx.GraphModule(own, _WholeModules().trace(own), "Thinning")


class _WholeModules(fx.Tracer):
    """Takes every module within the one that is traced as it is."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True
