"""Width pruning by torch-pruning: what is taken from a small network, and how much of it for a share of its latency.

Isomorphic pruning (Fang et al., ECCV 2024) ranks what is built alike together: the channels of a stage, the hidden
dimensions of all FFNs, the dimensions of all heads, and the embedding. Importance is the first-order Taylor expansion
of the loss (Molchanov et al., CVPR 2019).
"""

import copy
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn import functional

from pruner.data.images import Batch
from pruner.network.image_size import input_size_of

# Pruning ratios are whole numbers of these; what torch-pruning leaves beyond the largest can hardly learn.
PARTS: Final = 64
MOST: Final = 48


@dataclass(frozen=True)
class Way:
    """How torch-pruning narrows: numbers of channels are multiples of `round_to`; whole heads go at `head_share` times
    the pruning ratio, beside the dimensions of the heads that stay."""

    round_to: int
    head_share: float = 0.0

    @property
    def text(self) -> str:
        return f"by {self.round_to}" + (", whole heads too" if self.head_share else "")


# ONNX Runtime's blocked convolutions want channels by four at least: with any number of them, the small ResNet with a
# fifth of its channels gone takes half as long again as whole.
WAYS: Final[Mapping[str, tuple[Way, ...]]] = {
    "resnet": (Way(4), Way(8), Way(16)),
    "vit": (Way(1), Way(8), Way(4, head_share=0.5)),
    "convnext": (Way(4), Way(8), Way(16)),
    "mobilenet": (Way(4), Way(8), Way(16)),
}

History = list[tuple[str, bool, list[int]]]
"""What torch-pruning writes down of a pruning: a layer, whether its outputs were meant, and which of them went."""


def gradients_of(whole: nn.Module, batches: Iterable[Batch]) -> tuple[Tensor, ...]:
    """Of the loss over all batches, for every parameter in order."""
    model = copy.deepcopy(whole).eval()
    for images, labels in batches:
        functional.cross_entropy(model(images), labels).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return tuple(gradient for gradient in gradients if gradient is not None)


def narrowed(whole: nn.Module, gradients: tuple[Tensor, ...], way: Way, part: int) -> nn.Module:
    """`whole` pruned at a ratio of `part` of `PARTS`, untrained, in evaluation mode. The classifier keeps its classes.

    Raises `ValueError` when an attention has lost all its heads.
    """
    return narrowed_with_history(whole, gradients, way, part)[0]


def narrowed_with_history(
    whole: nn.Module, gradients: tuple[Tensor, ...], way: Way, part: int
) -> tuple[nn.Module, History]:
    """The same, and what was taken from where, in order."""
    model: Any = copy.deepcopy(whole).eval()
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient
    attentions = [module for module in model.modules() if hasattr(module, "qkv")]
    pruner = torch_pruning.pruner.BasePruner(
        model,
        torch.zeros(1, *input_size_of(whole)),
        importance=torch_pruning.importance.GroupTaylorImportance(),
        global_pruning=True,
        isomorphic=True,
        pruning_ratio=part / PARTS,
        round_to=way.round_to,
        ignored_layers=[model.get_classifier()],
        num_heads={attention.qkv: attention.num_heads for attention in attentions},
        prune_num_heads=way.head_share > 0,
        head_pruning_ratio=way.head_share * part / PARTS,
        unwrapped_parameters=_unwrapped(model),
        # The library's defaults for these are dictionaries that all pruners of a process share.
        in_channel_groups={},
        out_channel_groups={},
    )
    pruner.step()
    for attention in attentions:
        attention.num_heads = pruner.num_heads[attention.qkv]
        if not attention.num_heads:
            raise ValueError(f"{way} at {part}/{PARTS} leaves an attention without heads")
        attention.head_dim = attention.qkv.out_features // (3 * attention.num_heads)
        attention.attn_dim = attention.num_heads * attention.head_dim
        attention.scale = attention.head_dim**-0.5
    model.zero_grad(set_to_none=True)
    return model, pruner.pruning_history()


def narrowed_alike(model: nn.Module, history: History) -> None:
    """Takes from `model`, which is built like the network that the history is of, what was taken from that."""
    graph = torch_pruning.DependencyGraph()
    example = torch.zeros(1, *input_size_of(model))
    graph.build_dependency(model, example_inputs=example, unwrapped_parameters=_unwrapped(model))
    graph.load_pruning_history(history)


def _unwrapped(model: nn.Module) -> list[tuple[nn.Parameter, int]]:
    """The parameters of no layer, with the dimension that goes with the channels: tokens, positions, layer scales."""
    named = model.named_parameters()
    return [(p, p.dim() - 1) for name, p in named if name.rpartition(".")[2] in ("cls_token", "pos_embed", "gamma")]


def widths(network: nn.Module) -> str:
    """What tells two networks apart that were pruned from the same one."""
    return " ".join("x".join(map(str, parameter.shape)) for parameter in network.parameters())


def bisected(ratio_at: Callable[[int], float], budget: float) -> int:
    """The part at or just below the budget, by a function that measures the network of a part as a share of the
    baseline's latency; `MOST` where that may not be enough."""
    slow, quick = 0, MOST
    while quick - slow > 1:
        middle = (slow + quick) // 2
        slow, quick = (slow, middle) if ratio_at(middle) <= budget else (middle, quick)
    return quick


def least_pruned(
    narrow: Callable[[int], nn.Module],
    measure: Callable[[Mapping[int, nn.Module]], Mapping[int, float]],
    budget: float,
    start: int,
    neighbours: int,
) -> tuple[int | None, dict[int, float]]:
    """The first part whose network is within the budget, among those measured side by side around `start`, or beyond
    if none of them is; None when none is up to `MOST`. And the ratios of all that were measured.

    Parts that lead to the same widths are measured once, at the smallest.
    """
    read: dict[int, float] = {}
    for centre in itertools.count(start, 2 * neighbours + 1):
        parts = range(max(1, centre - neighbours), min(MOST, centre + neighbours) + 1)
        networks = {part: narrow(part) for part in parts}
        smallest = {widths(network): part for part, network in reversed(networks.items())}
        read |= measure({part: networks[part] for part in sorted(smallest.values())})
        fitting = [part for part in sorted(read) if read[part] <= budget]
        if fitting or centre + neighbours >= MOST:
            return (fitting[0] if fitting else None), read
    raise AssertionError("parts end at MOST")
