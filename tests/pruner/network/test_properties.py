"""What holds for any network of a family, whatever its stem, widths, groups, strides, dilations and images."""

import copy
from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from networks import disturbed, images_for, relative_error
from pruner.choices.plan import Plan
from pruner.models.load import load_model
from pruner.network.calibration import calibrate, estimate_batch_norm
from pruner.network.surgery import apply, describe, merge

sides = st.integers(33, 50)

resnets = st.fixed_dictionaries(
    {
        "img_size": st.tuples(sides, sides),
        "layers": st.tuples(*[st.integers(1, 2)] * 4),
        "channels": st.sampled_from([(8, 12, 16, 8), (4, 8, 8, 12)]),
        "stem_type": st.sampled_from(["", "deep", "deep_tiered"]),
        "stem_width": st.just(8),
        "avg_down": st.booleans(),
        "output_stride": st.sampled_from([8, 16, 32]),
        "act_layer": st.sampled_from([nn.ReLU, nn.SiLU]),
        "num_classes": st.just(5),
    }
)
grouped = st.sampled_from([{}, {"cardinality": 4, "base_width": 32}, {"cardinality": 2, "base_width": 64}])
convnexts = st.fixed_dictionaries(
    {
        "img_size": st.tuples(sides, sides),
        "depths": st.tuples(*[st.integers(1, 2)] * 4),
        "dims": st.sampled_from([(4, 8, 8, 12), (5, 6, 7, 8)]),
        "kernel_sizes": st.sampled_from([3, 5, 7]),
        "conv_mlp": st.booleans(),
        "conv_bias": st.booleans(),
        "ls_init_value": st.sampled_from([None, 0.5]),
        "output_stride": st.sampled_from([16, 32]),
        "num_classes": st.just(5),
    }
)
transformers = st.fixed_dictionaries(
    {
        "img_size": st.tuples(st.integers(2, 4).map(lambda n: 4 * n), st.integers(2, 4).map(lambda n: 4 * n)),
        "patch_size": st.just(4),
        "embed_dim": st.sampled_from([12, 18]),
        "num_heads": st.sampled_from([2, 3]),
        "depth": st.integers(1, 3),
        "mlp_ratio": st.sampled_from([1.5, 4.0]),
        "init_values": st.sampled_from([None, 0.5]),
        "reg_tokens": st.integers(0, 2),
        "class_token": st.booleans(),
        "global_pool": st.just("avg"),
        "num_classes": st.just(5),
    }
)


def holds(entry: str, kwargs: dict[str, Any], seed: int, extra_choices: Sequence[str] = ()) -> None:
    torch.manual_seed(seed)
    model = disturbed(load_model(entry, **kwargs).double(), seed)
    chain = describe(model, extra_choices)
    plan = chain.random_plan(0.7, Random(seed))
    images = images_for(model, torch.float64)
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        expected = model(images)
        cut = apply(model, Plan.from_json(plan.to_json())).eval()
        assert torch.equal(cut(images), expected)
        calibrate(cut, [images])
        cut.set_lambda(0.0)
        estimate_batch_norm(cut, [images])
        unmerged = copy.deepcopy(cut.state_dict())
        merged = merge(cut)
        assert relative_error(merged(images), cut(images)) <= 1e-10
        for parameter in merged.parameters():
            parameter.fill_(7.0)
    for network, state in ((model, before), (cut, unmerged)):
        assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in state.items())


@settings(max_examples=8, deadline=None)
@given(resnets, st.integers(0, 1000))
def test_any_resnet_of_basic_blocks(kwargs: dict[str, Any], seed: int) -> None:
    holds("resnet18", kwargs, seed)


@settings(max_examples=8, deadline=None)
@given(resnets, grouped, st.integers(0, 1000))
def test_any_resnet_of_bottlenecks(kwargs: dict[str, Any], groups: dict[str, Any], seed: int) -> None:
    holds("resnet50", kwargs | groups, seed)


@settings(max_examples=8, deadline=None)
@given(convnexts, st.integers(0, 1000))
def test_any_convnext(kwargs: dict[str, Any], seed: int) -> None:
    holds("convnext_tiny", kwargs, seed)


@settings(max_examples=8, deadline=None)
@given(transformers, st.integers(0, 1000))
def test_any_vision_transformer(kwargs: dict[str, Any], seed: int) -> None:
    holds("vit_tiny_patch16_224", kwargs, seed)


@settings(max_examples=8, deadline=None)
@given(transformers, st.booleans(), st.integers(0, 1000))
def test_any_vision_transformer_by_what_it_has_on_request(kwargs: dict[str, Any], qkv_bias: bool, seed: int) -> None:
    holds("vit_tiny_patch16_224", kwargs | {"qkv_bias": qkv_bias}, seed, ["merge-act", "narrow", "thin"])
