"""How far a network's outputs are from those of the one it was made of: what plans are ranked by without labels."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Distance = Callable[[Tensor, Tensor], Tensor]
"""(outputs, the baseline's outputs), both (B, ...) -> (B,), none negative and 0 for equal ones."""


def divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """(B,) KL(reference || logits) in nats: the cross-entropy with the baseline's answers, less what these have of
    their own."""
    wanted = functional.log_softmax(reference.flatten(1).double(), dim=1)
    found = functional.log_softmax(logits.flatten(1).double(), dim=1)
    return functional.kl_div(found, wanted, reduction="none", log_target=True).sum(1).clamp(min=0)


def relative_square(features: Tensor, reference: Tensor) -> Tensor:
    """(B,) |features - reference|^2 / |reference|^2, for networks whose outputs are no answers."""
    wanted, found = reference.flatten(1).double(), features.flatten(1).double()
    tiny = torch.finfo(torch.float64).tiny
    return (found - wanted).square().sum(1) / wanted.square().sum(1).clamp(min=tiny)


def distance_of(model: nn.Module) -> Distance:
    """The one for a timm network: by its answers, or where it has no classifier by its features."""
    return relative_square if getattr(model, "num_classes", None) == 0 else divergence
