"""Networks and images for the tests of surgery, by name."""

from typing import Any

import torch
from torch import Tensor, nn

from pruner.models import load_model
from pruner.surgery import input_size

_SMALL: dict[str, Any] = {
    "img_size": 16,
    "patch_size": 4,
    "embed_dim": 24,
    "depth": 3,
    "num_heads": 2,
    "num_classes": 5,
}

SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "deit": ("deit_tiny_patch16_224", _SMALL),
    "digits": ("deit_tiny_patch16_224", _SMALL | {"img_size": 32, "patch_size": 8, "depth": 4, "num_classes": 10}),
    "layer scale": ("deit_tiny_patch16_224", _SMALL | {"init_values": 0.3}),
    "no bias": ("deit_tiny_patch16_224", _SMALL | {"qkv_bias": False, "proj_bias": False}),
    "pooled, no class token": ("vit_base_patch16_224", _SMALL | {"class_token": False, "global_pool": "avg"}),
    "non-square": ("deit_tiny_patch16_224", _SMALL | {"img_size": (12, 20)}),
    "distilled": ("deit_tiny_distilled_patch16_224", _SMALL),
    "odd width": ("deit_tiny_patch16_224", _SMALL | {"embed_dim": 15, "num_heads": 3, "mlp_ratio": 1.7}),
}


def made(shape: str, seed: int) -> nn.Module:
    """The network of that shape with norms, scales and biases that are not at their initial values."""
    entry, kwargs = SHAPES[shape]
    torch.manual_seed(seed)
    model = load_model(entry, **kwargs)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.3)
    return model


def images_for(model: nn.Module, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(6, *input_size(model), generator=torch.Generator().manual_seed(seed)).to(dtype)
