"""Fitted convolutions that learn as two layers in a row, and become one again before they are merged.

Over-parametrisation by linear layers, ExpandNets (Guo, Alvarez and Salzmann, NeurIPS 2020): the weights of a
convolution are the product of those of a wider one and of a pointwise one behind it. This changes how the convolution
learns, but not what it computes. The product is taken once a step, so images see one convolution.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pruner.choices.choice import SHARES
from pruner.network.surgery import Cut

_TIMES_WIDER: Final = 4


class _Pair(nn.Module):
    """A kernel (out, in, height, width) as the product of (out, wide) and (wide, in height width)."""

    def __init__(self, kernel: Tensor) -> None:
        super().__init__()
        self.shape = kernel.shape

    def forward(self, wide: Tensor, pointwise: Tensor) -> Tensor:
        return (pointwise @ wide).view(self.shape)

    def right_inverse(self, kernel: Tensor) -> tuple[Tensor, Tensor]:
        """Two matrices whose product is `kernel`; the second has orthogonal rows of length one."""
        channels = len(kernel)
        # Drawn by a seed of its own, so that all processes of a training, and a resumed one, have the same.
        generator = torch.Generator().manual_seed(channels)
        random = torch.randn(_TIMES_WIDER * channels, channels, generator=generator, dtype=torch.float64)
        pointwise = torch.linalg.qr(random).Q.T.contiguous().to(kernel)
        return pointwise.T @ kernel.flatten(1), pointwise


def learn_as_pairs(cut: Cut) -> None:
    """Has the convolutions that stand in for whole blocks learn as pairs, in place.

    Depthwise and other grouped convolutions stay as they are.
    """
    for convolution in _convolutions(cut):
        parametrize.register_parametrization(convolution, "weight", _Pair(convolution.weight))


def learn_as_one(cut: Cut) -> None:
    """Makes each pair one convolution again, in place; it computes the same."""
    for convolution in _convolutions(cut):
        if parametrize.is_parametrized(convolution):
            parametrize.remove_parametrizations(convolution, "weight", leave_parametrized=True)


def _convolutions(cut: Cut) -> list[nn.Conv2d]:
    layers = [layer for block, layer in cut.layers.items() if cut.plan.choice_of(block) not in SHARES]
    modules = [module for layer in layers for module in layer.modules()]
    return [module for module in modules if isinstance(module, nn.Conv2d) and module.groups == 1]
