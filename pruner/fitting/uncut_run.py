"""One run of the uncut network over a batch: what comes to every block, what it computes, and what that counts for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pruner.choices.site import Site
from pruner.network.surgery import OpenNetwork

_LEAST: Final = 1e-3


@dataclass(frozen=True, eq=False)
class UncutRun:
    """By block: `inputs`, what it computes up to the activation that ends it (`before_end`), and for every image and
    place of its output how much the network's answer depends on it (`counts`): (B, N) for tokens, (B, H, W) for images.
    """

    inputs: Mapping[str, Tensor]
    before_end: Mapping[str, Tensor]
    counts: Mapping[str, Tensor]


def run_uncut(network: OpenNetwork, images: Tensor, seed: int) -> UncutRun:
    """Runs images (B, C, H, W) through the blocks of `network` as they were; the number of the first of them may be the
    seed, so that the same images are taken the same way again.

    What a place counts for is the length of the gradient there of one random projection of the outputs: in the mean
    over projections its square is the sum of the squared gradients of all outputs. A fit that is judged by an error
    weighted so spends itself on what reaches the answer, such as a class token behind the last attention.
    """
    inputs, before_end, after = {}, {}, {}
    random = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        x = images
        for name, segment in network.segments().items():
            if isinstance(segment, Site):
                inputs[name] = x.detach()
                y, x = segment.before_end(x)
                before_end[name] = y.detach()
                if not x.requires_grad:
                    x.requires_grad_()
                after[name] = x
            else:
                x = segment(x)
        projection = torch.randn(x.shape, generator=random).to(x)
        gradients = torch.autograd.grad((projection * x).sum(), list(after.values()))
    counts = {name: _counts(gradient) for name, gradient in zip(after, gradients, strict=True)}
    return UncutRun(inputs, before_end, counts)


def _counts(gradient: Tensor) -> Tensor:
    """The lengths over the channels, in float64, with a little for every place; the same for all where all are zero, as
    in a network whose last layer was not trained yet."""
    lengths: Tensor = torch.linalg.vector_norm(gradient.double(), dim=-1 if gradient.dim() == 3 else 1)
    mean = lengths.mean()
    return lengths + torch.where(mean == 0, torch.ones_like(mean), _LEAST * mean)
