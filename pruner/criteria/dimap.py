"""Module-aware, data-independent importance of weights, and of the blocks that lose them (DIMAP).

"Data-independent Module-aware Pruning for Hierarchical Vision Transformers", ICLR 2024 (arXiv 2404.13648). Taken from
there: weights are compared within their module (QKV, projection, MLP, other), the importance of a weight is its square
over the sum of the squares of the weights that come before it and of its own, and no data is seen. Not public, or not
read: the order of the weights. They are sorted from the largest here, as in LAMP (ICLR 2021): the largest weight of
every module has importance 1, and the sum of the module's tells how evenly its energy is spread.

Our own: the sum over a block's modules, times the share of the block's parameters that a cut takes away, is the harm
that the cut is held to do.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor

from pruner.choices.choice import KEEP
from pruner.choices.site import Site
from pruner.criteria.criterion import Criterion, criterion
from pruner.network.sizes import parameters_by_choice
from pruner.network.surgery import OpenNetwork

_MODULES: Final = (("qkv", r"\bqkv\b"), ("projection", r"\bproj\b"), ("mlp", r"\bfc[12]\b"))


def importance(weights: Iterable[Tensor]) -> list[Tensor]:
    """Imp(w_p) = w_p^2 / sum over i <= p of w_i^2, the weights of the module sorted from the largest; in float64 and in
    the shapes of `weights`, which are one module's. A module of zeros has none."""
    tensors = [weight.detach().double() for weight in weights]
    squares = torch.cat([tensor.flatten() for tensor in tensors]).square()
    order = squares.argsort(descending=True, stable=True)
    behind = squares[order].cumsum(0)
    found = torch.zeros_like(squares)
    found[order] = torch.where(behind > 0, squares[order] / behind.clamp(min=torch.finfo(behind.dtype).tiny), 0.0)
    parts = found.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


@criterion
class Dimap(Criterion):
    """The sum of the importance of a block's weights, times the share of them that a cut takes away."""

    name = "dimap"

    def harm_of_cuts(self, network: OpenNetwork) -> Mapping[tuple[str, str], float]:
        """By the network's own weights; needs no data."""
        sizes = parameters_by_choice(network)
        found: dict[tuple[str, str], float] = {}
        for name, site in network.sites.items():
            whole = _block_importance(site)
            for choice in site.block.choices:
                left = sizes[name, choice] / sizes[name, KEEP] if sizes[name, KEEP] else 1.0
                found[name, choice] = 0.0 if choice == KEEP else whole * max(0.0, 1.0 - left)
        return found


def _block_importance(site: Site) -> float:
    """The sum over the modules of the block, matrices and kernels alone."""
    modules: dict[str, list[Tensor]] = {}
    for name, parameter in site.kept.named_parameters():
        if parameter.ndim > 1:
            kind = next((kind for kind, pattern in _MODULES if re.search(pattern, name)), name)
            modules.setdefault(kind, []).append(parameter)
    return sum(float(part.sum()) for weights in modules.values() for part in importance(weights))
