"""Removing channels: which there are, and that the network without them computes what the masked one does."""

import copy

import pytest
import torch
from torch import Tensor, nn

from networks import disturbed, images_for, made, relative_error
from pruner.errors import SettingsError
from pruner.masks.channels import channel_parts, without_channels
from pruner.masks.granularity import Channels
from pruner.masks.masked import DECIDED, Masked
from pruner.masks.methods import Magnitude, Smart
from pruner.models.load import load_model


def network(name: str) -> nn.Module:
    if not name.startswith("test_") and not name.startswith("mobilenet"):
        return made(name, seed=7)
    torch.manual_seed(7)
    kwargs = {"img_size": 48} if name.startswith("mobilenet") else {}
    return disturbed(load_model(name, num_classes=7, **kwargs), seed=7)


NETWORKS = ["basic", "bottleneck, deep stem", "deit", "convnext", "test_efficientnet", "mobilenetv2_050"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", [1, pytest.param(3, marks=pytest.mark.grid)])
def test_a_network_without_channels_computes_what_it_does_with_them_masked(name: str, seed: int) -> None:
    model = network(name).double()
    before = copy.deepcopy(model.state_dict())
    masked = Masked(model, Channels(), 0.5, Magnitude())
    random = torch.Generator().manual_seed(seed)
    kept = {part.key: torch.rand(part.entries, generator=random) < 0.6 for part in masked.parts}
    for mask in kept.values():
        mask[int(torch.randint(len(mask), (1,), generator=random))] = True
    masked.decide(kept)
    masked.phase.fill_(DECIDED)
    removed = masked.removed()
    images = images_for(model, torch.float64, seed)
    masked.eval()
    assert relative_error(removed(images), masked(images)) < 1e-11
    assert relative_error(masked(images), model.eval()(images)) > 1e-4
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    for part in masked.parts:
        layer = removed.get_submodule(part.weight.removesuffix(".weight"))
        assert len(layer.weight) == int(kept[part.key].sum())  # type: ignore[arg-type]


def test_interior_channels_are_found_and_residual_streams_are_not() -> None:
    resnet = {part.key for part in channel_parts(network("basic"))}
    assert {"layer1/0/conv1", "layer1/1/conv1", "layer4/0/conv1"} <= resnet
    assert not any(key.endswith("conv2") or "downsample" in key for key in resnet)
    assert {part.key for part in channel_parts(network("deit"))} == {f"blocks/{i}/mlp/fc1" for i in range(3)}
    assert all(part.key.endswith("mlp/fc1") for part in channel_parts(network("convnext")))
    (block,) = [part for part in channel_parts(network("mobilenetv2_050")) if part.key == "blocks/1/0/conv_pw"]
    assert {name for name, _ in block.targets} == {
        *("blocks.1.0.conv_pw.weight", "blocks.1.0.bn1.weight", "blocks.1.0.bn1.bias"),
        *("blocks.1.0.conv_dw.weight", "blocks.1.0.bn2.weight", "blocks.1.0.bn2.bias"),
    }


def test_channels_that_a_norm_sees_together_are_not_taken() -> None:
    """A global response norm divides by the mean over channels, and the graph of operators does not tell."""
    found = channel_parts(load_model("test_convnext2", num_classes=5))
    assert all(part.key.endswith("mlp/fc1") for part in found)
    with_grn = load_model("convnextv2_atto", num_classes=5, img_size=64, depths=(1, 1, 1, 1), dims=(8, 8, 8, 8))
    assert not channel_parts(with_grn)
    with pytest.raises(SettingsError, match="residual streams"):
        Masked(with_grn, Channels(), 0.5, Smart())


def test_what_learns_and_what_trains_stays_so() -> None:
    model = network("basic").train()
    model.get_parameter("layer1.0.conv1.weight").requires_grad_(False)
    kept = {"layer1/0/conv1": torch.tensor([True] * 5 + [False] * 3)}
    smaller = without_channels(model, kept)
    assert smaller.training
    assert not smaller.get_parameter("layer1.0.conv1.weight").requires_grad
    assert smaller.get_parameter("layer1.0.conv2.weight").requires_grad
    assert smaller.get_parameter("layer1.0.conv2.weight").shape[1] == 5


def test_soft_masks_reach_every_parameter_that_makes_a_channel() -> None:
    model = network("basic").eval()
    masked = Masked(model, Channels(), 0.5, Smart()).eval()
    masked.searched = 0.0
    soft = Smart().masks(masked, 0.0)
    found = masked.masked_parameters(soft)
    factors: Tensor = soft["layer1/0/conv1"]
    for name in ("layer1.0.bn1.weight", "layer1.0.bn1.bias"):
        torch.testing.assert_close(found[name], model.get_parameter(name) * factors)
    weight = model.get_parameter("layer1.0.conv1.weight")
    torch.testing.assert_close(found["layer1.0.conv1.weight"], weight * factors[:, None, None, None])
