"""One run of the uncut network over a batch: the inputs and outputs of every block, and which of them matter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pruner.algebra.flow import Flow
from pruner.choices.site import Site
from pruner.network.surgery import OpenNetwork

_LEAST: Final = 1e-3


@dataclass(frozen=True, eq=False)
class UncutRun:
    """What one run of the uncut network found, by block.

    Attributes:
        inputs: The block's input, (B, N, C) of tokens or (B, C, H, W) of images.
        before_end: The block's output before the activation that ends it, if one does.
        counts: How much the network's answer depends on each place (token or pixel) of the block's output: (B, N) for
            tokens, (B, H, W) for images, in float64.
    """

    inputs: Mapping[str, Tensor]
    before_end: Mapping[str, Tensor]
    counts: Mapping[str, Tensor]


def run_uncut(network: OpenNetwork, images: Tensor, seed: int) -> UncutRun:
    """Runs images through the uncut blocks of `network`.

    A place of a block's output counts for the length of the gradient there of one random projection of the network's
    outputs. In the mean over projections, the square of that length is the sum of the squared gradients of all outputs.
    A fit with errors weighted so is best where the answer depends on it, such as the class token behind the last
    attention.

    Args:
        network: The opened network, whatever is selected in it.
        images: (B, C, H, W), normalised as the network is given them.
        seed: Seeds the random projection. With the number of the first image as the seed, the same images give the
            same result.
    """
    inputs, before_end, after = {}, {}, {}
    random = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        flow = Flow.of(images)
        for part in network.parts():
            if isinstance(part.module, Site):
                (x,) = part.wire.taken(flow)
                inputs[part.name] = x.detach()
                y, x = part.module.before_end(x)
                before_end[part.name] = y.detach()
                if not x.requires_grad:
                    x.requires_grad_()
                after[part.name] = x
                flow = part.wire.behind(flow, x)
            else:
                flow = part.run(flow)
        answer = flow.only
        projection = torch.randn(answer.shape, generator=random).to(answer)
        gradients = torch.autograd.grad((projection * answer).sum(), list(after.values()))
    counts = {name: _counts(gradient) for name, gradient in zip(after, gradients, strict=True)}
    return UncutRun(inputs, before_end, counts)


def _counts(gradient: Tensor) -> Tensor:
    """The lengths of the gradients over the channels, in float64.

    Every place gets a thousandth of the mean besides, so that none counts for nothing. Where all gradients are zero, as
    in a network whose last layer was not trained yet, all places count the same.
    """
    lengths: Tensor = torch.linalg.vector_norm(gradient.double(), dim=-1 if gradient.dim() == 3 else 1)
    mean = lengths.mean()
    return lengths + torch.where(mean == 0, torch.ones_like(mean), _LEAST * mean)
