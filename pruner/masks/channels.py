"""Channels that can be removed exactly: finding them, and removing some of them.

This is the one place that uses torch-pruning. Its graph says which layers share a channel. A trial then says whether
the removal is exact, for a graph of operators does not know that a norm looks at all channels at once.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
import torch_pruning
from torch import Tensor, nn
from torch.func import functional_call

from pruner.masks.layers import unmasked, uses_its_weight
from pruner.masks.parts import ChannelPart
from pruner.network.image_size import input_size_of

# What a channel may pass on its way. None of these joins two streams or looks across channels; else the trial shows it.
_MODULES: Final = frozenset({"CONV", "DEPTHWISE_CONV", "BN", "LINEAR"})
_OPERATORS: Final = (
    *("Relu", "Hardtanh", "Gelu", "Silu", "Hardswish", "Sigmoid", "Hardsigmoid", "LeakyRelu", "Elu", "Mish", "Mul"),
    *("Mean", "AdaptiveAvgPool2D", "AvgPool2D", "MaxPool2D", "NativeBatchNorm", "CudnnBatchNorm"),
    *("T", "Addmm", "Permute", "Transpose", "Clone", "Squeeze", "Unsqueeze", "ConstantPadNd"),
)
_EXACT: Final = 1e-8


def channel_parts(model: nn.Module) -> tuple[ChannelPart, ...]:
    """Finds the channels of a network that can be removed exactly: those that only the next layers read.

    These are the channels of a convolution with its BatchNorm and activation, with the depthwise convolutions and
    squeeze-and-excitations on their way, and the hidden channels of an FFN. Not among them are the channels of residual
    streams, attention heads, the first convolution and the classifier, nor any that pass a norm over channels.

    Args:
        model: The network; it is left alone.

    Returns:
        The parts, in the order in which the network holds their weights.
    """
    network = _learning_copy(model)
    graph = _graph(network)
    left_out = set(unmasked(network))
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about groups that are not taken
        for group in graph.get_all_groups():
            part = _part(network, group, left_out)
            if part is not None:
                found.append(part)
    order = {name: place for place, (name, _) in enumerate(network.named_parameters())}
    found.sort(key=lambda part: order[part.weight])
    if found and not _is_exact(model, found):
        found = [part for part in found if _is_exact(model, [part])]
    return tuple(found)


def without_channels(model: nn.Module, kept: Mapping[str, Tensor]) -> nn.Module:
    """Copies a network without some of its channels.

    Where the removed channels are masked in `model`, the copy computes the same to rounding.

    Args:
        model: The network; it is left alone.
        kept: The key of a part -> (channels,) bool, true for the channels that stay; at least one stays.

    Raises:
        AttributeError: when channels are to be removed from a part that the network does not have.
    """
    network = _learning_copy(model)
    graph = _graph(network)
    for key, mask in kept.items():
        gone = (~mask).nonzero().flatten().tolist()
        assert len(gone) < len(mask), f"nothing would be left of {key}"
        if gone:
            layer = network.get_submodule(key.replace("/", "."))
            pruner = graph.get_pruner_of_module(layer)
            graph.get_pruning_group(layer, pruner.prune_out_channels, gone).prune()
    learning = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(learning[name])
    return network.train(model.training)


def _learning_copy(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose parameters all learn, for the graph is traced along gradients."""
    return copy.deepcopy(model).requires_grad_(True).eval()


def _graph(network: nn.Module) -> Any:
    parameter = next(network.parameters())
    images = torch.zeros(1, *input_size_of(network), dtype=parameter.dtype, device=parameter.device)
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about parameters outside modules: no channels that they share are taken
        return torch_pruning.DependencyGraph().build_dependency(network, example_inputs=images, verbose=False)


def _part(network: nn.Module, group: Any, left_out: set[nn.Module]) -> ChannelPart | None:
    """The part for a group of the graph; None where more than the next layers read its channels."""
    names = {module: name for name, module in network.named_modules()}
    makers, layers, consumers = [], [], 0
    channels = len(group[0].idxs)
    for (dependency, indices), item in zip(group, group.items, strict=True):
        node = dependency.target
        if node.type.name in ("ELEMENTWISE", "RESHAPE"):
            if not _passes(node):
                return None
            continue
        if node.type.name not in _MODULES or not (node.type.name == "BN" or uses_its_weight(node.module)):
            return None
        layers.append(names[node.module])
        if dependency.handler.__name__.endswith("in_channels") and node.type.name in ("CONV", "LINEAR"):
            consumers += 1
            continue
        if node.module in left_out or getattr(node.module, "groups", 1) not in (1, channels):
            return None
        if list(indices) != list(range(channels)) or list(item.root_idxs) != list(indices):
            return None
        makers.append(names[node.module])
    weights = [
        name for name in names.values() if name in makers and getattr(network.get_submodule(name), "groups", 0) == 1
    ]
    weights += [name for name in makers if isinstance(network.get_submodule(name), nn.Linear)]
    if not weights or not consumers:
        return None
    targets = [
        (f"{name}.{which}", parameter.ndim)
        for name in makers
        for which, parameter in network.get_submodule(name).named_parameters(recurse=False)
    ]
    return ChannelPart(f"{weights[0]}.weight", channels, tuple(targets), tuple(sorted(set(layers))))


def _passes(node: Any) -> bool:
    """Whether an operator hands channels on one by one. One that adds two tensors does not: streams join there."""
    if node.type.name == "RESHAPE":
        return True
    operator = str(node.name).partition("(")[2].partition("Backward")[0]
    return operator in _OPERATORS


@torch.no_grad()
def _is_exact(model: nn.Module, parts: Sequence[ChannelPart]) -> bool:
    """Whether removing every other channel of the parts gives what masking them gives.

    It is tried with random factors and offsets, so that no difference hides behind a factor of zero.
    """
    random = torch.Generator().manual_seed(0)
    network = copy.deepcopy(model).cpu().double().eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.copy_(0.5 + torch.rand(parameter.shape, generator=random, dtype=torch.float64))
    kept = {part.key: torch.arange(part.channels) % 2 == 0 for part in parts}
    masked: dict[str, Tensor] = dict(network.named_parameters())
    for part in parts:
        for name, factor in part.spread(kept[part.key]).items():
            masked[name] = masked[name] * factor
    images = torch.randn(2, *input_size_of(model), generator=random, dtype=torch.float64)
    expected: Tensor = functional_call(network, masked, (images,))
    try:
        found: Tensor = without_channels(network, kept)(images)
    except RuntimeError:
        return False  # a layer that counts on the number of its channels
    return bool((found - expected).abs().max() <= _EXACT * expected.abs().max())
