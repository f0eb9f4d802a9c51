"""A network that torch-pruning narrowed, with every dense layer fitted anew to what the uncut network computes there.

Layer by layer, for the inputs that the narrowed network has once the layers before were fitted; the targets are those
channels of the uncut layer's output that are left.
"""

import copy
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruner.fitting.least_squares import fitted
from pruner.fitting.rows import patches, places_of, rows_wanted, values
from pruner.fitting.sums import Sums
from width_study.narrowing import Way, narrowed_alike, narrowed_with_history

_APART: Final = 5


def refitted(
    whole: nn.Module, gradients: tuple[Tensor, ...], way: Way, part: int, images: Sequence[Tensor]
) -> nn.Module:
    """What `narrowing.narrowed` gives, refitted on batches of images without labels."""
    narrow, history = narrowed_with_history(whole, gradients, way, part)
    # What is left of a layer whose weights are the numbers of its outputs are the numbers of those that are left.
    numbered = copy.deepcopy(whole)
    layers = [name for name, layer in whole.named_modules() if _is_dense(layer)]
    for name in layers:
        weight: Any = numbered.get_submodule(name).weight
        weight.data = torch.arange(float(len(weight))).view(-1, *[1] * (weight.dim() - 1)).expand_as(weight).clone()
    narrowed_alike(numbered, history)
    for name in layers:
        left: Any = numbered.get_submodule(name).weight
        _fit(whole, narrow, name, left.flatten(1)[:, 0].long(), images)
    return narrow


@torch.no_grad()
def _fit(whole: nn.Module, narrow: nn.Module, name: str, left: Tensor, images: Sequence[Tensor]) -> None:
    """One layer of the narrowed network, whose outputs are those of the uncut one's that are `left`."""
    layer: Any = narrow.get_submodule(name)
    side, stride = (layer.kernel_size[0], layer.stride[0]) if isinstance(layer, nn.Conv2d) else (1, 1)
    features = layer.weight[0].numel()
    seen, apart = (Sums.empty(features, len(layer.weight)) for _ in range(2))
    wanted = -(-rows_wanted(features) // sum(map(len, images)))
    for number, some in enumerate(images):
        x, y = _inputs(narrow, name, some), _outputs(whole, name, some)
        if y.dim() == 2:  # behind the pooling there is one place
            x, y = x[:, None], y[:, None]
        places = places_of(y, wanted, torch.Generator().manual_seed(number))
        rows = _patches(x, layer, places, side, stride) if isinstance(layer, nn.Conv2d) else values(x, places)
        (apart if number % _APART == _APART - 1 else seen).add(rows, values(y, places)[:, left])
    (solution,) = fitted(seen, apart, [slice(None)])
    layer.weight.copy_(solution.weight.reshape(layer.weight.shape))
    if layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros(len(layer.weight)))
    layer.bias.copy_(solution.bias)


def _patches(x: Tensor, layer: nn.Conv2d, places: Tensor, side: int, stride: int) -> Tensor:
    """What the convolution sees; one without padding whose kernels stand side by side sees every pixel once."""
    if layer.padding == (side // 2, side // 2):
        return patches(x, places, side, stride)
    assert layer.padding == (0, 0) and stride == side, "no such convolution is in the small networks"  # noqa: PT018
    seen = nn.functional.unfold(x, side, stride=stride)
    return seen[:, :, places].transpose(1, 2).flatten(0, 1)


def _is_dense(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def _inputs(network: nn.Module, name: str, images: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = network.get_submodule(name).register_forward_pre_hook(lambda _layer, inputs: found.append(inputs[0]))
    network(images)
    hook.remove()
    return _as_images(found[-1], network.get_submodule(name))


def _outputs(network: nn.Module, name: str, images: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = network.get_submodule(name).register_forward_hook(lambda _layer, _inputs, output: found.append(output))
    network(images)
    hook.remove()
    return _as_images(found[-1], network.get_submodule(name))


def _as_images(x: Tensor, layer: nn.Module) -> Tensor:
    """A linear layer over the channels of images (B, H, W, C) as one over those of (B, C, H, W)."""
    return x.movedim(-1, 1) if isinstance(layer, nn.Linear) and x.dim() == 4 else x
