"""Networks and images for the tests of surgery, by name."""

from typing import Any

import torch
from torch import Tensor, nn

from pruner.models.load import load_model
from pruner.network.calibration import estimate_batch_norm
from pruner.network.image_size import input_size_of

BATCH_NORM = nn.modules.batchnorm._BatchNorm

_SMALL: dict[str, Any] = {
    "img_size": 16,
    "patch_size": 4,
    "embed_dim": 24,
    "depth": 3,
    "num_heads": 2,
    "num_classes": 5,
}
_SMALL_RESNET: dict[str, Any] = {
    "img_size": (33, 46),
    "layers": (2, 1, 2, 1),
    "channels": (8, 12, 16, 8),
    "num_classes": 5,
}
_SMALL_CONVNEXT: dict[str, Any] = {
    "img_size": (70, 65),
    "depths": (1, 2, 2, 1),
    "dims": (8, 12, 16, 20),
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
    "basic": ("resnet18", _SMALL_RESNET),
    "bottleneck, deep stem": ("resnet26d", _SMALL_RESNET),
    "grouped": ("resnext50_32x4d", _SMALL_RESNET | {"cardinality": 4, "base_width": 32}),
    "inverted residual": ("test_efficientnet", {"img_size": (31, 44), "num_classes": 5}),
    "convnext": ("convnext_atto", _SMALL_CONVNEXT),
    "convnext, channels last": ("convnext_tiny", _SMALL_CONVNEXT),
}


# With several blocks in a row of every kind, so that there are spans.
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "deit": SHAPES["deit"],
    "basic": ("resnet18", {"img_size": (21, 26), "layers": (3, 1, 1, 3), "channels": (8, 8, 8, 12), "num_classes": 5}),
    "bottleneck": ("resnet26", {"img_size": 24, "layers": (1, 3, 1, 1), "channels": (8, 8, 8, 8), "num_classes": 5}),
    "attending": ("seresnet18", {"img_size": 24, "layers": (3, 1, 1, 1), "channels": (8, 8, 8, 8), "num_classes": 5}),
    "inverted residual": ("mobilenetv2_035", {"img_size": 24, "depth_multiplier": 0.7, "num_classes": 5}),
    "convnext": ("convnextv2_atto", {"img_size": 33, "depths": (3, 1, 1, 1), "dims": (8, 8, 8, 8), "num_classes": 5}),
}


def in_a_row(name: str) -> nn.Module:
    """The network of `ROWS` of that name, as `made` makes others."""
    entry, kwargs = ROWS[name]
    torch.manual_seed(0)
    return disturbed(load_model(entry, **kwargs), 0)


def made(shape: str, seed: int) -> nn.Module:
    """The network of that shape with norms, scales and biases that are not at their initial values."""
    entry, kwargs = SHAPES[shape]
    torch.manual_seed(seed)
    return disturbed(load_model(entry, **kwargs), seed)


def disturbed(model: nn.Module, seed: int) -> nn.Module:
    """`model` with its factors, biases, layer scales and BatchNorm statistics drawn at random, in place: as after some
    training, near enough to what flows through it that rounding is not magnified from layer to layer."""
    random = torch.Generator().manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, BATCH_NORM)]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.normal_(float(parameter.mean()), 0.3, generator=random)
        for name, parameter in model.named_parameters():
            if name.endswith("gamma"):
                parameter.uniform_(0.1, 1.0, generator=random)
        for norm in norms:
            norm.eps = 1e-3
            norm.weight.uniform_(0.1, 0.3, generator=random)
            norm.bias.normal_(0, 0.1, generator=random)
    estimate_batch_norm(model, [images_for(model, next(model.parameters()).dtype, seed=seed)])
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn(norm.running_mean.shape, generator=random)
        norm.running_var *= 0.9 + 0.2 * torch.rand(norm.running_var.shape, generator=random)
    return model


def images_for(model: nn.Module, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(6, *input_size_of(model), generator=torch.Generator().manual_seed(seed)).to(dtype)


def relative_error(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs().max() / b.abs().max()).detach())
