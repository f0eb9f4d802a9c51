"""A fingerprint is of the whole network: what differs anywhere is another network, and it is told if it is the head."""

from typing import Any

import pytest
import torch
from torch import nn

from networks import disturbed
from profiles.fingerprint import differ_in_head_alone
from pruner.models.load import load_model
from pruner.network.outline import Outline, digest
from pruner.network.surgery import describe, supernet

SMALL: dict[str, dict[str, Any]] = {
    "resnet18": {"img_size": 32, "layers": (1, 1, 1, 1)},
    "mobilenetv2_035": {"img_size": 32},
    "mobilenetv3_small_050": {"img_size": 32},
    "convnext_atto": {"img_size": 32, "depths": (1, 1, 2, 1)},
    "vit_tiny_patch16_224": {"img_size": 32, "depth": 2},
}


def fingerprint(name: str, **kwargs: Any) -> str:
    return describe(load_model(name, **{**SMALL.get(name, {"img_size": 32}), **kwargs})).fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("resnet50", "resnet50c"),
        ("resnet50", "resnet50d"),
        ("resnet18", "resnet18d"),
        ("mobilenetv3_large_100", "mobilenetv3_rw"),
        ("vit_base_patch16_224", "vit_base_patch16_clip_224"),
    ],
)
def test_variants_of_a_network_are_other_networks(one: str, other: str) -> None:
    kwargs = {"depth": 1} if one.startswith("vit") else {}
    first, second = fingerprint(one, **kwargs), fingerprint(other, **kwargs)
    assert first != second
    assert not differ_in_head_alone(first, second)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("resnet18", {"stem_width": 32, "stem_type": "deep"}),
        ("resnet18", {"act_layer": "gelu"}),
        ("resnet18", {"output_stride": 16}),
        ("resnet18", {"replace_stem_pool": True}),
        ("resnet18", {"in_chans": 1}),
        ("resnet18", {"img_size": 48}),
        ("mobilenetv2_035", {"in_chans": 4}),
        ("mobilenetv2_035", {"act_layer": "gelu"}),
        ("convnext_atto", {"patch_size": 2}),
        ("convnext_atto", {"stem_type": "overlap"}),
        ("convnext_atto", {"conv_bias": False}),
        ("vit_tiny_patch16_224", {"patch_size": 8}),
        ("vit_tiny_patch16_224", {"pre_norm": True}),
        ("vit_tiny_patch16_224", {"qk_norm": True}),
        ("vit_tiny_patch16_224", {"reg_tokens": 2}),
        ("vit_tiny_patch16_224", {"pos_embed": "none"}),
    ],
)
def test_a_stem_a_block_or_what_stands_between_makes_another_network(name: str, change: dict[str, Any]) -> None:
    first, second = fingerprint(name), fingerprint(name, **change)
    assert first.partition("-")[0] != second.partition("-")[0]
    assert not differ_in_head_alone(first, second)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, {"num_classes": classes}) for name in SMALL for classes in (0, 2)),
        ("resnet18", {"global_pool": "max"}),
        ("mobilenetv2_035", {"global_pool": "max"}),
        ("mobilenetv3_small_050", {"head_bias": False}),
        ("convnext_atto", {"head_norm_first": True}),
        ("convnext_atto", {"head_hidden_size": 64}),
        ("vit_tiny_patch16_224", {"global_pool": "avg"}),
        ("vit_tiny_patch16_224", {"global_pool": "avg", "fc_norm": False}),
        ("vit_tiny_patch16_224", {"global_pool": "map"}),
    ],
)
def test_another_head_is_told_from_another_network(name: str, change: dict[str, Any]) -> None:
    assert differ_in_head_alone(fingerprint(name), fingerprint(name, **change))


@pytest.mark.parametrize("name", SMALL)
def test_weights_and_what_is_for_training_alone_make_no_other_network(name: str) -> None:
    torch.manual_seed(1)
    model = load_model(name, **SMALL[name], drop_rate=0.3, drop_path_rate=0.1)
    changed = disturbed(load_model(name, **SMALL[name]), seed=3).train()
    expected = fingerprint(name)
    assert describe(model).fingerprint == describe(changed).fingerprint == expected
    assert supernet(changed.double()).chain.fingerprint == expected


def test_an_outline_names_what_is_called_with_its_shapes() -> None:
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    network = nn.Sequential(layer, nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 2)).eval()
    images = torch.zeros(1, 3, 4, 4)
    with Outline([network[2]]) as outline:
        network(images)
    assert outline.before_head == [
        "conv2d (1, 3, 4, 4) (4, 3, 3, 3) (4,) [2 2] [1 1] [1 1] 1 -> (1, 4, 2, 2)",
        "batch_norm (1, 4, 2, 2) (4,) (4,) (4,) (4,) -> (1, 4, 2, 2)",
        "relu (1, 4, 2, 2) -> (1, 4, 2, 2)",
    ]
    assert outline.head == ["linear (1, 16) (2, 16) (2,) -> (1, 2)"]
    assert digest(outline.head) != digest(outline.before_head)
    assert not layer._forward_hooks
