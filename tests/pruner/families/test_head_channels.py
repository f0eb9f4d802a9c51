"""Heads with half their channels: which ones go by the weights alone, and what is left is timm's own attention."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from networks import images_for, made, relative_error
from pruner._timm import Attention
from pruner.choices.choice import NARROW
from pruner.families.head_channels import channel_scores, kept_channels
from pruner.models.load import load_model
from pruner.network.surgery import apply, describe, merge

NAME = "blocks.1.attn"


def test_a_channels_score_is_its_matrix_norm_times_how_unlike_the_others_it_is() -> None:
    random = torch.Generator().manual_seed(0)
    into, out_of = (torch.randn(3, 5, numbers, generator=random, dtype=torch.float64) for numbers in (7, 4))
    found = channel_scores(into, out_of)
    for head in range(3):
        matrices = [torch.outer(into[head, channel], out_of[head, channel]).flatten() for channel in range(5)]
        for channel, matrix in enumerate(matrices):
            others = [other for place, other in enumerate(matrices) if place != channel]
            alike = max(abs(float(torch.cosine_similarity(matrix, other, dim=0))) for other in others)
            assert float(found[head, channel]) == pytest.approx(float(matrix.norm()) * (1 - alike), rel=1e-9)


def test_of_two_channels_that_are_alike_both_count_for_nothing_and_a_weak_one_for_little() -> None:
    into = torch.tensor([[[3.0, 0, 0], [-3.0, 0, 0], [0, 2.0, 0], [0, 0, 0.1]]])
    scores = channel_scores(into, torch.tensor([[[1.0, 0], [1.0, 0], [1.0, 1.0], [1.0, 0]]]))
    assert scores.tolist() == [pytest.approx([0, 0, 2 * math.sqrt(2), 0.1], abs=1e-6)]
    assert kept_channels(scores).tolist() == [[2, 3]]
    assert kept_channels(torch.tensor([[1.0, 5, 3, 4, 2]])).tolist() == [[1, 2, 3]]


def narrowed(shape: str, lam: float) -> tuple[nn.Module, Any, Any, Tensor]:
    """(model, opened network, its form, images) with one attention narrowed to `lam`."""
    model = made(shape, 0).double().eval()
    cut = apply(model, describe(model).plan({NAME: NARROW})).eval()
    cut.set_lambda(lam)
    form: Any = cut.sites[NAME]._forms[NARROW]
    return model, cut, form, images_for(model, torch.float64)


@pytest.mark.parametrize("shape", ["deit", "no bias", "layer scale", "odd width"])
@pytest.mark.parametrize("lam", [0.7, 0.0])
def test_what_the_lost_channels_add_is_scaled_by_lambda(shape: str, lam: float) -> None:
    model, cut, form, images = narrowed(shape, lam)
    attention: Any = model.get_submodule(NAME)
    count = attention.attn_dim
    lost = [row for row in range(3 * count) if row not in form.rows.tolist() and not count <= row < 2 * count]
    with torch.no_grad():
        for parameter in attention.qkv.parameters():
            parameter[lost] *= lam
        assert relative_error(cut(images), model(images)) < 1e-12


@pytest.mark.parametrize("shape", ["deit", "no bias", "layer scale", "odd width"])
def test_every_head_loses_as_many_and_what_is_left_is_timms_attention(shape: str) -> None:
    model, cut, _, images = narrowed(shape, 0.0)
    before: Any = model.get_submodule(NAME)
    merged = merge(cut)
    after: Any = merged.get_submodule(f"{NAME}.branch.attn")
    assert type(after) is Attention
    assert (after.num_heads, after.head_dim) == (before.num_heads, math.ceil(before.head_dim / 2))
    assert (after.qkv.bias is None, after.proj.bias is None) == (before.qkv.bias is None, before.proj.bias is None)
    for fused in (True, False):
        after.fused_attn = fused
        with torch.no_grad():
            assert relative_error(merged(images), cut(images)) < 1e-12


def test_queries_and_values_lose_channels_of_their_own_and_a_training_does_not_change_which() -> None:
    _, cut, form, images = narrowed("deit", 0.0)
    width = cut.sites[NAME].kept.branch.attn.attn_dim
    pairs, columns = form.rows[: len(form.columns)], form.columns
    assert form.rows.tolist() == [*pairs.tolist(), *(pairs + width).tolist(), *(columns + 2 * width).tolist()]
    assert pairs.tolist() != columns.tolist()
    before = merge(cut).get_submodule(f"{NAME}.branch.attn.proj").weight
    loss = cut.train()(images).square().sum()
    loss.backward()
    with torch.no_grad():
        for parameter in cut.parameters():
            if parameter.grad is not None:
                parameter -= 0.3 * parameter.grad.sign()
    copied = copy.deepcopy(cut).eval()
    with torch.no_grad():
        assert relative_error(merge(copied)(images), copied(images)) < 1e-9
    assert not torch.equal(merge(copied).get_submodule(f"{NAME}.branch.attn.proj").weight, before)
    assert copied.sites[NAME]._forms[NARROW].rows.tolist() == form.rows.tolist()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"qk_norm": True}, "it normalizes queries and keys by all channels of a head"),
        ({"scale_attn_norm": True}, "it has a norm or a gate over all channels of the heads"),
        ({"attn_layer": "diff"}, "its DiffAttention is no plain attention of heads that may have any width"),
        ({"num_heads": 24}, "its heads have one channel"),
    ],
)
def test_what_cannot_be_narrowed_says_why(more: dict[str, Any], reason: str) -> None:
    kwargs = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
    for block in describe(load_model("vit_tiny_patch16_224", **kwargs | more), ["narrow"]).blocks:
        if block.kind == "vit.attn":
            assert dict(block.refused)[NARROW] == reason
            assert NARROW not in block.choices + block.on_request
