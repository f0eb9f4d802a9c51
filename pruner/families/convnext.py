"""ConvNeXts: a block becomes one dense convolution, a depthwise and a pointwise convolution, or nothing."""

from typing import Any

from torch import Tensor, nn

from pruner._timm import ConvNeXt, ConvNeXtBlock, Mlp
from pruner.algebra.modules import does_nothing
from pruner.algebra.oddities import oddity
from pruner.algebra.steps import Activation, EndActivation, Opaque, Scale, Step, SwitchedNorm
from pruner.choices.choice import MERGE, MERGE_ACT, SEPARABLE
from pruner.choices.forms import Folded, Residual
from pruner.choices.site import Site, make_site
from pruner.families.family import Family, family, runs_like, without
from pruner.families.parts import batch_norm_like, conv_step, linear_step, noise, twin, unknown_site


@family
class ConvNeXts(Family):
    """timm's ConvNeXt. Blocks of ConvNeXt V2 can be dropped alone, because their response norm does not fold."""

    name = "convnext"

    def recognises(self, model: nn.Module) -> bool:
        """Returns whether `model` runs like timm's ConvNeXt."""
        return runs_like(model, ConvNeXt)

    def open(self, model: nn.Module) -> list[Site]:
        """Puts a site in place of every block `stages.S.blocks.B`, and returns the sites in order."""
        network: Any = model
        sites = []
        for stage, holder in enumerate(network.stages):
            for index, block in enumerate(holder.blocks):
                sites.append(_site(f"stages.{stage}.blocks.{index}", block))
                holder.blocks[index] = sites[-1]
        return sites

    def segments(self, model: nn.Module) -> dict[str, nn.Module]:
        """Returns stem, blocks, the downsampling before each stage and head, as they run one after another."""
        network: Any = model
        found: dict[str, nn.Module] = {"stem": network.stem}
        for stage, holder in network.stages.named_children():
            if not isinstance(holder.downsample, nn.Identity):
                found[f"stages.{stage}.downsample"] = holder.downsample
            found |= {f"stages.{stage}.blocks.{name}": site for name, site in holder.blocks.named_children()}
        return found | {"head": _Head(network)}


def _site(name: str, block: Any) -> Site:
    if type(block) is not ConvNeXtBlock:
        return unknown_site(name, "convnext.block", block)
    over_channels = not block.use_conv_mlp
    conv = conv_step(block.conv_dw)
    norms: list[nn.Module] = []
    behind = (
        _norm_step(block.norm, over_channels, norms),
        *_mlp_steps(block.mlp, over_channels),
        *([] if block.gamma is None else [Scale(block, on_images=True)]),
        *noise(block.drop_path),
    )
    same = does_nothing(block.shortcut)
    shortcut = () if same else (Opaque(block.shortcut, "its shortcut resamples and does not fold"),)
    anatomy = Residual((conv, *behind), shortcut)
    ways = {MERGE: (anatomy.branch,), SEPARABLE: ((conv,), behind)}
    act = next((step for step in behind if isinstance(step, Activation)), None)
    if act is None or not same:
        return make_site(name, "convnext.block", block, anatomy, ways, norms)
    end = batch_norm_like(block.conv_dw.weight, nn.BatchNorm2d)
    requested = {MERGE_ACT: Folded(anatomy, (anatomy.branch,), EndActivation(end, act.act))}
    return make_site(name, "convnext.block", block, anatomy, ways, [*norms, end], requested)


def _norm_step(norm: nn.Module, over_channels: bool, norms: list[nn.Module]) -> Step:
    if not isinstance(norm, nn.LayerNorm) or norm.weight is None:
        return Opaque(norm, f"its {type(norm).__name__} has no BatchNorm to switch to", over_channels=over_channels)
    batch_norm = twin(norm, nn.BatchNorm2d)
    norms.append(batch_norm)
    return SwitchedNorm(norm, batch_norm, over_channels)


def _mlp_steps(mlp: Any, over_channels: bool) -> tuple[Step, ...]:
    if type(mlp) is not Mlp or oddity(mlp) or not does_nothing(mlp.norm):
        why = oddity(mlp) or f"its {type(mlp).__name__} normalizes by the whole image and cannot fold"
        return (Opaque(mlp, why, over_channels=over_channels),)
    first, second = (
        conv_step(layer) if isinstance(layer, nn.Conv2d) else linear_step(layer, over_channels)
        for layer in (mlp.fc1, mlp.fc2)
    )
    return (first, Activation(mlp.act), *noise(mlp.drop1), second, *noise(mlp.drop2))


class _Head(nn.Module):
    """The last norm, pooling and classifier: (B, C, H, W) -> logits (B, classes)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.trunk = without(model, "stem", "stages")

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.trunk.forward_head(self.trunk.norm_pre(images))
        return logits
