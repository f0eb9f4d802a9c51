"""Token pruning: behind an attention, the tokens to which the others attend least are left out.

After Zero-TPrune (Wang, Dedhia and Jha, "Zero-TPrune: Zero-Shot Token Pruning through Leveraging of the Attention Graph
in Pre-Trained Transformers", CVPR 2024, arXiv 2305.17328). From the paper: the attention matrix is a directed graph of
the tokens; a token counts as much as the tokens that attend to it (Weighted Page Rank, s <- A^T s from the uniform
start); the least important tokens are removed, without any training. Different here are the mean over the heads, where
the paper weighs regions and leaves out heads by their variance; one fixed number of iterations; one fixed share of
tokens; and that a network prunes once. The paper's second stage, which prunes the most similar tokens, is left out.
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
"""The share of the patch tokens that stays."""

# On the trained network that ships, over 64 scenes and all blocks, this many iterations keep the same tokens as
# hundreds do; after 12 a few scenes still keep another token. On networks with random weights 8 are enough.
_ITERATIONS: Final = 16


def importance(attention: Tensor) -> Tensor:
    """Returns the importance of each token: its weighted PageRank in the graph of an attention.

    Each token passes all of its importance on to the tokens that it attends to, so that the sum over tokens stays 1.

    Args:
        attention: The attention matrix (B, heads, N, N), whose rows sum to 1.

    Returns:
        (B, N), where the importance of the tokens of an image sums to 1.

    Example:
        >>> import torch
        >>> from pruner.families.token_pruning import importance
        >>> everyone_attends_to_the_first = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
        >>> importance(everyone_attends_to_the_first)
        tensor([[1., 0.]])
    """
    graph = attention.mean(dim=1).transpose(-2, -1)
    scores = graph.mean(dim=-1, keepdim=True)  # the first iteration, from 1 / N each
    for _ in range(_ITERATIONS - 1):
        scores = graph @ scores
    return scores.squeeze(-1)


def kept_count(patches: int) -> int:
    """Returns how many of a number of patch tokens stay, rounded up."""
    return math.ceil(round(SHARE_KEPT * patches, 6))


def why_not_thin(network: Any, attention: nn.Module) -> str | None:
    """Returns why tokens cannot be left out behind an attention of a timm VisionTransformer; None when they can."""
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
    """x + branch(x) for fewer tokens: (B, N, C) -> (B, prefix + kept, C), in their order.

    It runs the branch's own modules. Merged networks do not contain this class, but a `torch.fx.GraphModule` of it.
    """

    def __init__(self, branch: nn.Sequential, prefix: int, kept: int) -> None:
        """Takes the branch and the numbers of tokens.

        Args:
            branch: The modules of the branch in a row, an attention `attn` among them.
            prefix: How many tokens at the front always stay, such as the class token.
            kept: How many of the others stay, the most important ones.
        """
        super().__init__()
        self.branch = branch
        self.prefix, self.kept = prefix, kept

    def forward(self, x: Tensor) -> Tensor:
        """Runs the block on tokens (B, N, C) and returns those that stay, (B, prefix + kept, C)."""
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
    """Runs timm's attention on tokens (B, N, C); returns its output and its matrix (B, heads, N, N)."""
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
    """The block as it is, with fewer tokens behind it.

    The gate is not gradual, because a token cannot be kept by half: the site runs the block itself, with all tokens, at
    lambda 1, and this form, with the most important tokens alone, at any other lambda.
    """

    network: Thinning

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the block on tokens (B, N, C) and returns the most important ones, whatever `lam` is."""
        y: Tensor = self.network(x)
        return y

    def merged(self) -> nn.Module:
        """Returns a copy of the block and of the pruning of tokens, as a graph module."""
        own = copy.deepcopy(self.network)
        return fx.GraphModule(own, _WholeModules().trace(own), "Thinning")


class _WholeModules(fx.Tracer):
    """A tracer that takes every module inside the traced one as a whole."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True
