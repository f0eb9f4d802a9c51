"""ResNets: a block of convolutions and a shortcut becomes one convolution, one of its own convolutions, or nothing."""

from typing import Any

from torch import Tensor, nn

from pruner._timm import BasicBlock, Bottleneck, ResNet
from pruner.algebra.branch import batch_norm_pairs
from pruner.algebra.modules import BatchNormPair
from pruner.algebra.oddities import why_not_plain
from pruner.algebra.steps import Activation, Fading
from pruner.choices.choice import MERGE, SHRINK
from pruner.choices.forms import Residual
from pruner.choices.site import Site, make_site
from pruner.families.family import Family, family, runs_like, without
from pruner.families.parts import (
    attention_step,
    blur_step,
    conv_step,
    noise,
    norm_steps,
    projection_steps,
    steps_of,
    unknown_site,
)

_LAYERS = ("layer1", "layer2", "layer3", "layer4")


@family
class ResNets(Family):
    """timm's ResNet with basic and bottleneck blocks: ResNet, Wide ResNet, ResNeXt, and others of that class."""

    name = "resnet"

    def recognises(self, model: nn.Module) -> bool:
        """Returns whether `model` runs like timm's ResNet and has a block that is plain."""
        blocks = (block for layer in _LAYERS for block in getattr(model, layer, ()))
        return runs_like(model, ResNet) and any(type(block) in (BasicBlock, Bottleneck) for block in blocks)

    def open(self, model: nn.Module) -> list[Site]:
        """Puts a site in place of every block `layerS.B`, and returns the sites in order."""
        sites = []
        for layer in _LAYERS:
            for index, block in model.get_submodule(layer).named_children():
                sites.append(_site(f"{layer}.{index}", block))
                model.set_submodule(f"{layer}.{index}", sites[-1])
        return sites

    def segments(self, model: nn.Module) -> dict[str, nn.Module]:
        """Returns stem, blocks and head, as they run one after another."""
        network: Any = model
        blocks = {
            f"{layer}.{name}": site for layer in _LAYERS for name, site in getattr(network, layer).named_children()
        }
        stem = nn.Sequential(network.conv1, network.bn1, network.act1, network.maxpool)
        return {"stem": stem, **blocks, "head": _Head(network)}

    def batch_norm_pairs(self, model: nn.Module) -> list[BatchNormPair]:
        """Returns the convolutions of the stem that a BatchNorm follows directly, each with that BatchNorm."""
        network: Any = model
        is_row = why_not_plain(network.conv1, "row of layers", nn.Sequential) is None
        convs = network.conv1 if is_row else [network.conv1]
        return batch_norm_pairs(steps_of([*convs, network.bn1], []))


def _site(name: str, block: Any) -> Site:
    if type(block) not in (BasicBlock, Bottleneck):
        return unknown_site(name, "resnet.block", block)
    norms: list[nn.Module] = []
    first = (
        conv_step(block.conv1),
        *norm_steps(block.bn1, norms),
    )
    gate_and_noise = (*attention_step(block.se), *noise(block.drop_path))
    shortcut = projection_steps(block.downsample, norms)
    if type(block) is BasicBlock:
        first += (*noise(block.drop_block), Activation(block.act1), *blur_step(block.aa))
        second = (conv_step(block.conv2), *norm_steps(block.bn2, norms), *attention_step(block.se))
        anatomy = Residual((*first, *second, *noise(block.drop_path)), shortcut, Activation(block.act2))
        ways = {MERGE: (anatomy.branch,), SHRINK: ((*first, Fading(second), *noise(block.drop_path)),)}
        return make_site(name, "resnet.basic", block, anatomy, ways, norms)
    second = (conv_step(block.conv2), *norm_steps(block.bn2, norms), *noise(block.drop_block), Activation(block.act2))
    third = (*blur_step(block.aa), conv_step(block.conv3), *norm_steps(block.bn3, norms), *gate_and_noise)
    anatomy = Residual((*first, Activation(block.act1), *second, *third), shortcut, Activation(block.act3))
    return make_site(name, "resnet.bottleneck", block, anatomy, {MERGE: (anatomy.branch,)}, norms)


class _Head(nn.Module):
    """Pooling and classifier: (B, C, H, W) -> logits (B, classes)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.trunk = without(model, "conv1", "bn1", *_LAYERS)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.trunk.forward_head(images)
        return logits
