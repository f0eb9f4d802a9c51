"""The distance of a plan's outputs from those of the uncut network, by which plans are ranked without labels."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Distance = Callable[[Tensor, Tensor], Tensor]
"""(outputs, the uncut network's outputs), both (B, ...) -> (B,) distances, which are not negative, and 0 for equals."""


def divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """The Kullback-Leibler divergence KL(reference || logits) of each image.

    It is the cross-entropy with the uncut network's answers, less the entropy of those answers.

    Args:
        logits: (B, classes).
        reference: The uncut network's logits, (B, classes).

    Returns:
        (B,) in nats, in float64.

    Example:
        >>> import torch
        >>> from pruner.scoring.distance import divergence
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> [round(nats, 2) for nats in divergence(logits, logits[:1].expand(2, 2)).tolist()]
        [0.0, 1.52]
    """
    wanted = functional.log_softmax(reference.flatten(1).double(), dim=1)
    found = functional.log_softmax(logits.flatten(1).double(), dim=1)
    return functional.kl_div(found, wanted, reduction="none", log_target=True).sum(1).clamp(min=0)


def relative_square(features: Tensor, reference: Tensor) -> Tensor:
    """The relative squared distance |features - reference|^2 / |reference|^2 of each image.

    It is for networks without a classifier, whose outputs are features.

    Args:
        features: (B, ...).
        reference: The uncut network's features, of the same shape.

    Returns:
        (B,) in float64.
    """
    wanted, found = reference.flatten(1).double(), features.flatten(1).double()
    tiny = torch.finfo(torch.float64).tiny
    return (found - wanted).square().sum(1) / wanted.square().sum(1).clamp(min=tiny)


def distance_of(model: nn.Module) -> Distance:
    """The distance for a timm network: `relative_square` where it has no classifier, `divergence` elsewhere."""
    return relative_square if getattr(model, "num_classes", None) == 0 else divergence
