"""Vision transformers (ViT, DeiT): every attention may be dropped, every FFN merged into one linear or dropped."""

import copy
from collections import OrderedDict
from typing import Any, cast

import torch
from torch import Tensor, nn

from pruner._timm import Mlp, TimmBlock, VisionTransformer
from pruner.chain import Block
from pruner.families.family import Family, family
from pruner.plan import DROP, KEEP, MERGE
from pruner.site import Site, gated, without_identities


@family
class VisionTransformers(Family):
    """timm's VisionTransformer with its plain pre-norm blocks; two sites a block, `attn` and `mlp`."""

    name = "vit"

    def recognises(self, model: nn.Module) -> bool:
        # A subclass may compute something else (parallel branches, post-norm, blocks that are fed more than tokens).
        return (
            isinstance(model, VisionTransformer)
            and type(model).forward_features is VisionTransformer.forward_features
            and all(type(block) is TimmBlock for block in model.blocks)
        )

    def open(self, model: nn.Module) -> list[Site]:
        network: Any = model
        tokens = network.patch_embed.num_patches + network.num_prefix_tokens
        shape = f"tokens={tokens} dim={network.embed_dim}"
        sites: list[Site] = []
        for index, block in enumerate(network.blocks):
            attention = _attention_site(f"blocks.{index}.attn", block, shape)
            ffn = _ffn_site(f"blocks.{index}.mlp", block, shape)
            network.blocks[index] = nn.Sequential(OrderedDict(attn=attention, mlp=ffn))
            sites += [attention, ffn]
        return sites

    def stem(self, model: nn.Module) -> nn.Module:
        return _Stem(model)

    def head(self, model: nn.Module) -> nn.Module:
        return _Head(model)


class FFNSite(Site):
    """x + fc2(act(fc1(norm(x)))), or, cut, x + fc2(fc1(bn(x))): without its activation and with a BatchNorm in place
    of the LayerNorm, every step is linear and the whole folds into one C x C layer (UPDP's transformer block)."""

    def __init__(self, block: Block, branch: nn.Sequential) -> None:
        super().__init__(block, branch)
        if MERGE in block.choices:
            norm: Any = branch.norm
            weight = norm.weight
            self.batch_norm = nn.BatchNorm1d(len(weight), device=weight.device, dtype=weight.dtype)
            self.batch_norm.load_state_dict({"weight": weight, "bias": norm.bias}, strict=False)

    def forward(self, x: Tensor) -> Tensor:
        return self._without_activation(x) if self.choice == MERGE else super().forward(x)

    def merged(self) -> nn.Module | None:
        return self._folded() if self.choice == MERGE else super().merged()

    def _without_activation(self, x: Tensor) -> Tensor:
        branch: Any = self.branch
        mlp = branch.mlp
        # In training the BatchNorm sees every input from the first step on, so that its statistics are current when
        # the gate reaches 0; in evaluation it is run only if it counts.
        batch_normed = x
        if self.training or self.lam < 1:
            batch_normed = self.batch_norm(x.flatten(0, 1)).view_as(x)
        y = gated(self.lam, branch.norm(x), batch_normed) if self.lam > 0 else batch_normed
        y = mlp.fc1(y)
        y = gated(self.lam, mlp.act(y), y) if self.lam > 0 else y
        y = mlp.drop2(mlp.fc2(mlp.norm(mlp.drop1(y))))
        for module in _after(self.branch):
            y = module(y)
        return x + cast(Tensor, y)

    @torch.no_grad()
    def _folded(self) -> nn.Linear:
        """Folded in float64: y = x + g * (W2 (W1 (a * (x - mean) + beta) + b1) + b2), a = gamma / sqrt(var + eps)."""
        branch: Any = self.branch
        fc1, fc2, norm = branch.mlp.fc1, branch.mlp.fc2, self.batch_norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        shift = norm.bias.double() - scale * norm.running_mean.double()
        both = fc2.weight.double() @ fc1.weight.double()
        weight, bias = both * scale, both @ shift
        if fc1.bias is not None:
            bias = bias + fc2.weight.double() @ fc1.bias.double()
        if fc2.bias is not None:
            bias = bias + fc2.bias.double()
        if hasattr(branch, "scale"):
            gamma = branch.scale.gamma.double()
            weight, bias = gamma[:, None] * weight, gamma * bias
        weight = weight + torch.eye(len(weight), dtype=torch.float64, device=weight.device)
        merged = nn.Linear(len(weight), len(weight), device=weight.device, dtype=fc1.weight.dtype)
        merged.weight.copy_(weight)
        merged.bias.copy_(bias)
        return merged


def _attention_site(name: str, block: Any, shape: str) -> Site:
    branch = without_identities(norm=block.norm1, attn=block.attn, scale=block.ls1, drop_path=block.drop_path1)
    signature = f"vit.attn {shape} heads={getattr(block.attn, 'num_heads', 1)} {_weight(block.attn, branch)}"
    return Site(Block(name, "vit.attn", signature, (KEEP, DROP)), branch)


def _ffn_site(name: str, block: Any, shape: str) -> FFNSite:
    mlp, norm = block.mlp, block.norm2
    branch = without_identities(norm=norm, mlp=mlp, scale=block.ls2, drop_path=block.drop_path2)
    foldable = (
        type(mlp) is Mlp
        and isinstance(mlp.fc1, nn.Linear)
        and isinstance(mlp.norm, nn.Identity)
        and isinstance(norm, nn.LayerNorm)
        and norm.bias is not None
    )
    act = f"act={type(mlp.act).__name__} " if foldable else ""
    choices = (KEEP, MERGE, DROP) if foldable else (KEEP, DROP)
    return FFNSite(Block(name, "vit.ffn", f"vit.ffn {shape} {act}{_weight(mlp, branch)}", choices), branch)


def _weight(module: nn.Module, branch: nn.Sequential) -> str:
    """What else tells two blocks of the same shape apart: the kind of module, and every parameter in the branch."""
    return f"{type(module).__name__} parameters={sum(parameter.numel() for parameter in branch.parameters())}"


def _after(branch: nn.Sequential) -> list[nn.Module]:
    """What follows the mlp in its branch: layer scale and stochastic depth, where there are any."""
    return [module for name, module in branch.named_children() if name not in ("norm", "mlp")]


class _Stem(nn.Module):
    """Patches and position embedding: images (B, C, H, W) -> tokens (B, N, D)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        trunk: Any = copy.deepcopy(model)
        trunk.blocks, trunk.norm, trunk.fc_norm = nn.Sequential(), nn.Identity(), nn.Identity()
        trunk.reset_classifier(0)
        self.trunk = trunk

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.trunk.forward_features(images)
        return tokens


class _Head(nn.Module):
    """Last norm, pooling and classifier: tokens (B, N, D) -> logits (B, classes)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        trunk: Any = copy.deepcopy(model)
        trunk.blocks, trunk.patch_embed, trunk.norm_pre = nn.Sequential(), nn.Identity(), nn.Identity()
        trunk.cls_token = trunk.reg_token = trunk.pos_embed = None
        self.trunk = trunk

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.trunk.forward_head(self.trunk.norm(tokens))
        return logits
