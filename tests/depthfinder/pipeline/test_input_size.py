"""Sizes and channels of images: what the caller says, else what the network is made for."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

import depthfinder as df
from pruner.data.augmentation import transforms_for
from pruner.errors import UnknownModelError

FAMILIES: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "vit_tiny_patch16_224": ({"img_size": (32, 48), "embed_dim": 24, "depth": 2, "num_heads": 2}, (32, 48)),
    "resnet18": ({"layers": (2, 1, 1, 1), "channels": (8, 12, 16, 8)}, (32, 48)),
    "resnet26d": ({"layers": (2, 1, 1, 1), "channels": (8, 12, 16, 8)}, (33, 46)),
    "test_efficientnet": ({}, (40, 47)),
    "convnext_atto": ({"depths": (1, 1, 1, 1), "dims": (8, 12, 16, 20)}, (70, 65)),
}


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("name", FAMILIES)
def test_any_number_of_channels_goes_all_the_way(name: str, channels: int, tmp_path: Path) -> None:
    """Of a network that timm made, not `load_model`: nothing but the network itself says how many there are."""
    kwargs, sides = FAMILIES[name]
    size = (channels, *sides)
    torch.manual_seed(0)
    model = timm.create_model(name, in_chans=channels, num_classes=5, **kwargs).eval()
    chain = df.describe(model, input_size=size)
    assert chain.input_size == size
    plan = chain.plan({block.name: "merge" for block in chain.blocks if "merge" in block.choices})
    cut = df.apply(model, plan, input_size=size).eval()
    images = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cut(images), model(images))
    cut.set_lambda(0.0)
    merged = df.merge(cut)
    torch.testing.assert_close(merged(images), cut(images), rtol=1e-4, atol=1e-4)
    table = df.profile(model, "null", input_size=size)
    assert table.fingerprint == chain.fingerprint
    assert df.measure(merged, "null").latency_ms == pytest.approx(table.latency_ms(plan))
    parity = df.export(merged, tmp_path / "merged.onnx")  # it knows the size at which it was cut
    assert parity.same_top1 == parity.images


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_loaded_by_name_knows_its_channels(name: str, channels: int) -> None:
    kwargs, sides = FAMILIES[name]
    model = df.load_model(name, in_chans=channels, **kwargs | {"img_size": sides})
    assert df.describe(model).input_size == (channels, *sides)


def test_a_first_convolution_that_was_replaced_says_its_channels() -> None:
    model = timm.create_model("resnet18")
    model.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    assert df.describe(model, input_size=(1, 32, 32)).input_size == (1, 32, 32)
    model.conv1 = nn.Sequential(nn.Conv2d(5, 3, 1), nn.Conv2d(3, 64, 7, 2, 3, bias=False))
    assert df.describe(model).input_size == (5, 224, 224)


def test_a_network_that_nobody_named_takes_the_size_that_is_said() -> None:
    model = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=10, channels=(8, 8, 8, 8))
    assert df.describe(model).input_size == (3, 224, 224)
    small, wide = (df.describe(model, input_size=size) for size in ((3, 32, 32), (3, 32, 64)))
    assert small.blocks[0].signature.startswith("resnet.basic 64x8x8: ")
    assert wide.blocks[0].signature.startswith("resnet.basic 64x8x16: ")
    assert small.fingerprint != wide.fingerprint
    merged = df.merge(_closed(df.apply(model, df.Plan("ResNet"), input_size=(3, 32, 64))))
    assert df.describe(merged_again(model, merged)).input_size == (3, 32, 64)
    assert df.measure(model, "null", input_size=(3, 32, 32)).latency_ms > 0


def merged_again(model: nn.Module, merged: nn.Module) -> nn.Module:
    """The network whose blocks are all there still, with what merging noted on it."""
    model.pretrained_cfg = merged.pretrained_cfg  # type: ignore[assignment]
    return model


def _closed(cut: Any) -> Any:
    cut.set_lambda(0.0)
    return cut.eval()


def test_a_transformer_says_its_own_size_and_takes_no_other() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=(32, 64), depth=1)
    assert df.describe(model).input_size == (3, 32, 64)
    with pytest.raises(UnknownModelError, match=r"does not take images of 3x64x64: .*input_size=\(channels"):
        df.describe(model, input_size=(3, 64, 64))
    any_size = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, dynamic_img_size=True)
    assert df.describe(any_size).input_size == (3, 32, 32)
    assert df.describe(any_size, input_size=(3, 48, 64)).input_size == (3, 48, 64)
    cut = df.apply(any_size, df.Plan("vit_tiny_patch16_224"), input_size=(3, 48, 64))
    assert df.measure(df.merge(_closed(cut)), "cpu", seconds=0.1).latency_ms > 0


@pytest.mark.parametrize("asked", [(3, 32), (3, 0, 32), (3, 32.0, 32), 32 * (3,)])
def test_what_is_no_size_is_refused(asked: Any) -> None:
    with pytest.raises(ValueError, match=r"input_size is \(channels, height, width\)"):
        df.describe(timm.create_model("resnet18"), input_size=asked)


def test_other_channels_than_the_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="this ResNet takes images of 3 channels, not 1"):
        df.describe(timm.create_model("resnet18"), input_size=(1, 32, 32))


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(UnknownModelError, match="does not take images of 3x8x8"):
        df.describe(df.load_model("vit_tiny_patch16_224", img_size=32, depth=1), input_size=(3, 8, 8))


def test_images_are_cut_to_sides_that_differ() -> None:
    transforms = transforms_for(timm.create_model("resnet18"), (3, 32, 64))
    picture = Image.new("RGB", (100, 80))
    assert transforms.train(picture).shape == (3, 32, 64)
    assert transforms.evaluation(picture).shape == (3, 32, 64)
