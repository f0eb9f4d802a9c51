"""MobileNets and EfficientNets: an inverted residual becomes one dense convolution, or nothing."""

from typing import Any

from torch import Tensor, nn

from pruner._timm import (
    ConvBnAct,
    ConvNormAct,
    DepthwiseSeparableConv,
    EdgeResidual,
    EfficientNet,
    InvertedResidual,
    LayerScale2d,
    MobileNetV3,
    UniversalInvertedResidual,
)
from pruner.algebra.branch import batch_norm_pairs
from pruner.algebra.modules import BatchNormPair, does_nothing
from pruner.algebra.oddities import why_not_plain
from pruner.algebra.steps import Activation, Convolution, EndActivation, Opaque, Scale, Step
from pruner.choices.choice import MERGE, MERGE_ACT
from pruner.choices.forms import Folded, Residual
from pruner.choices.site import Site, make_site
from pruner.families.family import Family, family, runs_like, without
from pruner.families.parts import attention_step, batch_norm_like, blur_step, conv_step, noise, norm_steps, unknown_site


@family
class MobileNets(Family):
    """timm's EfficientNet and MobileNetV3 classes, of which MobileNetV2 to V4, MNASNet and EfficientNet are built."""

    name = "mobilenet"

    def recognises(self, model: nn.Module) -> bool:
        """Returns whether `model` runs like timm's EfficientNet or MobileNetV3."""
        return runs_like(model, EfficientNet) or runs_like(model, MobileNetV3)

    def open(self, model: nn.Module) -> list[Site]:
        """Puts a site in place of every block `blocks.S.B`, and returns the sites in order."""
        network: Any = model
        sites = []
        for stage, blocks in enumerate(network.blocks):
            for index, block in enumerate(blocks):
                sites.append(_site(f"blocks.{stage}.{index}", block))
                blocks[index] = sites[-1]
        return sites

    def segments(self, model: nn.Module) -> dict[str, nn.Module]:
        """Returns stem, blocks and head, as they run one after another."""
        network: Any = model
        blocks = {
            f"blocks.{stage}.{name}": site
            for stage, children in network.blocks.named_children()
            for name, site in children.named_children()
        }
        return {"stem": nn.Sequential(network.conv_stem, network.bn1), **blocks, "head": _Head(network)}

    def batch_norm_pairs(self, model: nn.Module) -> list[BatchNormPair]:
        """Returns the first and the last convolution of the network, each with the BatchNorm behind it, if any."""
        network: Any = model
        last = network.bn2 if isinstance(network, EfficientNet) else network.norm_head
        ends = [(network.conv_stem, network.bn1), (network.conv_head, last)]
        return [pair for conv, norm in ends for pair in batch_norm_pairs((conv_step(conv), *norm_steps(norm, [])))]


def _site(name: str, block: Any) -> Site:
    norms: list[nn.Module] = []
    steps = _steps(block, norms)
    if not steps:
        return unknown_site(name, "mobilenet.block", block)
    anatomy = Residual((*steps, *noise(block.drop_path)), () if block.has_skip else None)
    act = next((step for step in steps if isinstance(step, Activation)), None)
    convs = [step.conv for step in steps if isinstance(step, Convolution)]
    if act is None or not convs:
        return make_site(name, "mobilenet.block", block, anatomy, {MERGE: (anatomy.branch,)}, norms)
    end = batch_norm_like(convs[-1].weight, nn.BatchNorm2d)
    norms.append(end)
    requested = {MERGE_ACT: Folded(anatomy, (anatomy.branch,), EndActivation(end, act.act))}
    return make_site(name, "mobilenet.block", block, anatomy, {MERGE: (anatomy.branch,)}, norms, requested)


def _steps(block: Any, norms: list[nn.Module]) -> tuple[Step, ...]:
    """The steps of a block of a known kind up to its stochastic depth; none for a kind that is not known."""

    def conv(name: str, norm: str) -> tuple[Step, ...]:
        return (conv_step(getattr(block, name)), *norm_steps(getattr(block, norm), norms))

    if type(block) is InvertedResidual and block.conv_s2d is None:
        gate = (*blur_step(block.aa), *attention_step(block.se))
        return (*conv("conv_pw", "bn1"), *conv("conv_dw", "bn2"), *gate, *conv("conv_pwl", "bn3"))
    if type(block) is DepthwiseSeparableConv and block.conv_s2d is None:
        return (*conv("conv_dw", "bn1"), *blur_step(block.aa), *attention_step(block.se), *conv("conv_pw", "bn2"))
    if type(block) is EdgeResidual:
        return (*conv("conv_exp", "bn1"), *blur_step(block.aa), *attention_step(block.se), *conv("conv_pwl", "bn2"))
    if type(block) is ConvBnAct:
        return (*conv("conv", "bn1"), *blur_step(block.aa))
    if type(block) is UniversalInvertedResidual:
        scale = _scale(block.layer_scale)
        before = (*_within(block.dw_start, norms), *_within(block.pw_exp, norms), *_within(block.dw_mid, norms))
        after = (*_within(block.pw_proj, norms), *_within(block.dw_end, norms))
        return (*before, *attention_step(block.se), *after, *scale)
    return ()


def _within(module: Any, norms: list[nn.Module]) -> tuple[Step, ...]:
    """The steps of a convolution with its norm and activation; none where the block lacks this convolution."""
    if does_nothing(module):
        return ()
    if type(module) is not ConvNormAct:
        return (conv_step(module),)
    return (conv_step(module.conv), *norm_steps(module.bn, norms), *blur_step(module.aa))


def _scale(module: nn.Module) -> tuple[Step, ...]:
    """The layer scale; nothing where the block has none."""
    if does_nothing(module):
        return ()
    why = why_not_plain(module, "layer scale", LayerScale2d)
    return (Scale(module, on_images=True),) if why is None else (Opaque(module, why),)


class _Head(nn.Module):
    """The last convolution, pooling and classifier: (B, C, H, W) -> logits (B, classes)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.trunk = without(model, "conv_stem", "bn1", "blocks")

    def forward(self, images: Tensor) -> Tensor:
        # An EfficientNet has its last convolution among the features, a MobileNetV3 in its head.
        trunk = self.trunk
        if isinstance(trunk, EfficientNet):
            images = trunk.bn2(trunk.conv_head(images))
        logits: Tensor = trunk.forward_head(images)
        return logits
