"""Vision transformers (ViT, DeiT): an attention may be dropped; an FFN may be merged into one linear layer, or dropped.

On request both may be narrowed, and an attention may have half the channels in its heads, or leave out tokens for the
rest of the network.
"""

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from pruner._timm import LayerScale, Mlp, TimmBlock, VisionTransformer
from pruner.algebra.modules import does_nothing, residual, without_identities
from pruner.algebra.oddities import first_oddity, oddity, why_not_plain
from pruner.algebra.steps import Activation, EndActivation, Opaque, Scale, Step, SwitchedNorm
from pruner.choices.choice import MERGE, MERGE_ACT, NARROW, THIN
from pruner.choices.forms import Folded, Form, Residual
from pruner.choices.site import Site, make_site
from pruner.families.family import Family, family, without
from pruner.families.head_channels import Narrowed, why_not_narrow
from pruner.families.heads import heads_of
from pruner.families.parts import batch_norm_like, linear_step, noise, twin, unknown_site
from pruner.families.token_pruning import Thinned, Thinning, kept_count, why_not_thin


@family
class VisionTransformers(Family):
    """timm's VisionTransformer with its plain pre-norm blocks; each has two sites, `attn` and `mlp`."""

    name = "vit"

    def recognises(self, model: nn.Module) -> bool:
        """Returns whether `model` runs like timm's VisionTransformer and has a plain block."""
        # Another kind of block may compute something else (parallel branches, post-norm): it is kept as it is.
        # The distilled DeiT runs like a ViT but for its second classifier.
        return (
            isinstance(model, VisionTransformer)
            and type(model).forward_features is VisionTransformer.forward_features
            and any(type(block) is TimmBlock for block in model.blocks)
        )

    def open(self, model: nn.Module) -> list[Site]:
        """Puts two sites, `blocks.B.attn` and `blocks.B.mlp`, in place of every block, and returns all in order."""
        network: Any = model
        sites: list[Site] = []
        for index, block in enumerate(network.blocks):
            if type(block) is not TimmBlock or oddity(block):
                sites.append(unknown_site(f"blocks.{index}", "vit.block", block))
                network.blocks[index] = sites[-1]
                continue
            attention = _attention_site(f"blocks.{index}.attn", block, network)
            ffn = _ffn_site(f"blocks.{index}.mlp", block)
            network.blocks[index] = nn.Sequential(OrderedDict(attn=attention, mlp=ffn))
            sites += [attention, ffn]
        return sites

    def segments(self, model: nn.Module) -> dict[str, nn.Module]:
        """Returns stem, attentions, FFNs and head, as they run one after another."""
        network: Any = model
        blocks: dict[str, nn.Module] = {}
        for index, block in network.blocks.named_children():
            parts = {"": block} if isinstance(block, Site) else dict(block.named_children())
            blocks |= {f"blocks.{index}.{name}".rstrip("."): part for name, part in parts.items()}
        return {"stem": _Stem(network), **blocks, "head": _Head(network)}


def _attention_site(name: str, block: Any, network: Any) -> Site:
    kept = without_identities(norm=block.norm1, attn=block.attn, scale=block.ls1, drop_path=block.drop_path1)
    behind = (*_scale(block.ls1), *noise(block.drop_path1))
    label = f"{type(block.attn).__name__} heads={getattr(block.attn, 'num_heads', 1)}"
    anatomy = Residual((Opaque(kept, "an attention weighs tokens by the image itself and cannot fold", label),))
    requested: dict[str, Form | str] = {
        NARROW: why_not_narrow(block.attn) or Narrowed.of(kept),
        THIN: why_not_thin(network, block.attn) or _thinned(kept, network),
    }
    site = make_site(name, "vit.attn", residual(kept), anatomy, {MERGE: (anatomy.branch,)}, on_request=requested)
    site.hidden = heads_of(block.attn, behind) if _why_not_scale(block.ls1) is None else None
    return site


def _thinned(branch: nn.Sequential, network: Any) -> Thinned:
    return Thinned(Thinning(branch, network.num_prefix_tokens, kept_count(network.patch_embed.num_patches)))


def _ffn_site(name: str, block: Any) -> Site:
    """The site of an FFN: x + fc2(act(fc1(norm(x)))), or, merged, x + fc2(fc1(bn(x))).

    Without the activation and with a BatchNorm in place of the LayerNorm, every step is affine, and the whole folds
    into one C x C layer (UPDP's transformer block).
    """
    mlp, norm = block.mlp, block.norm2
    branch = without_identities(norm=norm, mlp=mlp, scale=block.ls2, drop_path=block.drop_path2)
    kept = residual(branch)
    why = _why_not(block)
    if why is not None:
        anatomy = Residual((Opaque(branch, why, type(mlp).__name__),))
        return make_site(name, "vit.ffn", kept, anatomy, {MERGE: (anatomy.branch,)})
    norms = [twin(norm, nn.BatchNorm1d), batch_norm_like(norm.weight, nn.BatchNorm1d)]
    act = Activation(mlp.act)
    anatomy = Residual(
        (
            SwitchedNorm(norm, norms[0]),
            linear_step(mlp.fc1),
            act,
            *noise(mlp.drop1),
            linear_step(mlp.fc2),
            *noise(mlp.drop2),
            *_scale(block.ls2),
            *noise(block.drop_path2),
        )
    )
    requested = {MERGE_ACT: Folded(anatomy, (anatomy.branch,), EndActivation(norms[1], act.act))}
    return make_site(name, "vit.ffn", kept, anatomy, {MERGE: (anatomy.branch,)}, norms, requested)


def _scale(module: nn.Module) -> tuple[Step, ...]:
    return () if does_nothing(module) else (Scale(module),)


def _why_not_scale(module: nn.Module) -> str | None:
    return None if does_nothing(module) else why_not_plain(module, "factor for every channel", LayerScale)


def _why_not(block: Any) -> str | None:
    """Why an FFN cannot be merged; None when it can."""
    mlp = block.mlp
    if type(mlp) is not Mlp or isinstance(mlp.fc1, nn.Conv2d):
        return f"its {type(mlp).__name__} is more than two linears and an activation"
    if not does_nothing(mlp.norm):
        return f"the {type(mlp.norm).__name__} inside it has no BatchNorm to switch to"
    if not isinstance(block.norm2, nn.LayerNorm) or block.norm2.weight is None:
        return f"its {type(block.norm2).__name__} has no BatchNorm to switch to"
    return _why_not_scale(block.ls2) or first_oddity(mlp)


class _Stem(nn.Module):
    """The patch and position embeddings: images (B, C, H, W) -> tokens (B, N, D)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.trunk = without(model, "blocks", "norm", "attn_pool", "fc_norm", "head", "head_dist")

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.trunk.forward_features(images)
        return tokens


class _Head(nn.Module):
    """The last norm, pooling and classifier: tokens (B, N, D) -> logits (B, classes)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        embedding = ("patch_embed", "cls_token", "reg_token", "dist_token", "pos_embed")
        self.trunk = without(model, *embedding, "norm_pre", "blocks")

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.trunk.forward_head(self.trunk.norm(tokens))
        return logits
