"""Module-aware, data-independent importance of weights, and of the blocks that lose them (DIMAP).

"Data-independent Module-aware Pruning for Hierarchical Vision Transformers", ICLR 2024 (arXiv 2404.13648). From the
paper: weights are compared within their module (QKV, projection, MLP, other), the importance of a weight is its square
over the sum of the squares of the weights before it and its own, and no data is needed. The order of the weights was
not checked against the paper. Here they are sorted from the largest, as in LAMP (ICLR 2021): the largest weight of
every module has importance 1, and the sum over the module says how evenly its energy is spread.

Not from the paper: the harm of a cut is the sum over the block's modules, times the share of the block's parameters
that the cut removes.
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
    """The importance of every weight of one module: Imp(w_p) = w_p^2 / sum over i <= p of w_i^2.

    The weights of the module are sorted from the largest. In a module of zeros all importances are 0.

    Args:
        weights: The tensors of one module, of any shapes.

    Returns:
        The importances in float64, in the shapes of `weights`.

    Example:
        >>> import torch
        >>> from pruner.criteria.dimap import importance
        >>> importance([torch.tensor([1.0, 2.0])])[0].tolist()
        [0.2, 1.0]
    """
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
    """Estimates the harm of a cut by the importance of the block's weights, times the share that the cut removes."""

    name = "dimap"

    def harm_of_cuts(self, network: OpenNetwork) -> Mapping[tuple[str, str], float]:
        """The harm of every cut, by the network's own weights: (block, choice) -> harm."""
        sizes = parameters_by_choice(network)
        found: dict[tuple[str, str], float] = {}
        for name, site in network.sites.items():
            whole = _block_importance(site)
            for choice in site.block.choices:
                left = sizes[name, choice] / sizes[name, KEEP] if sizes[name, KEEP] else 1.0
                found[name, choice] = 0.0 if choice == KEEP else whole * max(0.0, 1.0 - left)
        return found


def _block_importance(site: Site) -> float:
    """The sum of the importance of all matrices and kernels of the block."""
    modules: dict[str, list[Tensor]] = {}
    for name, parameter in site.kept.named_parameters():
        if parameter.ndim > 1:
            kind = next((kind for kind, pattern in _MODULES if re.search(pattern, name)), name)
            modules.setdefault(kind, []).append(parameter)
    return sum(float(part.sum()) for weights in modules.values() for part in importance(weights))
