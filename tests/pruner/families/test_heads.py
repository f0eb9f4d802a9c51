"""Attentions with fewer heads: the others compute what they did, and the one that is missed least goes."""

from typing import Any

import pytest
import torch
from torch import nn

from networks import made, relative_error
from pruner._timm import Attention
from pruner.choices.choice import SHARES
from pruner.choices.site import Site
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.models.load import load_model
from pruner.network.surgery import apply, describe, merge

NAME = "blocks.1.attn"
SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 4, "num_classes": 5}
MORE: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"qkv_bias": False, "proj_bias": False},
    "layer scale": {"init_values": 0.3},
    "normed queries and keys": {"qk_norm": True},
    "six heads": {"num_heads": 6},
}


def network(more: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    return load_model("vit_tiny_patch16_224", **SMALL | more).double().eval()


def site_of(model: nn.Module) -> Site:
    return apply(model, describe(model).plan({})).eval().sites[NAME]


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
@pytest.mark.parametrize("fused", [True, False])
def test_without_some_heads_the_others_compute_what_they_did(more: dict[str, Any], fused: bool) -> None:
    model = network(more)
    site, stay = site_of(model), torch.tensor([0, 3])
    layer: Any = site.narrowed(stay)[0].eval()
    after, before = layer.branch.attn, site.kept.branch.attn
    assert type(after) is Attention
    assert (after.num_heads, after.head_dim, after.attn_dim) == (2, before.head_dim, 2 * before.head_dim)
    after.fused_attn = fused
    x = torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        columns = before.proj.weight.unflatten(1, (before.num_heads, -1))
        columns[:, [head for head in range(before.num_heads) if head not in stay.tolist()]] = 0
        torch.testing.assert_close(layer(x), site.kept(x), rtol=1e-12, atol=1e-12)


def test_a_head_that_does_what_another_does_is_not_missed() -> None:
    model = network({})
    attention: Any = model.get_submodule(NAME)
    with torch.no_grad():
        for tensor in (attention.qkv.weight, attention.qkv.bias):
            heads = tensor.unflatten(0, (3, 4, -1))
            heads[:, 2] = heads[:, 1]
    images = torch.randn(200, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    chain = describe(model)
    cut = apply(model, chain.plan({NAME: "narrow-75"})).eval()
    with torch.no_grad():
        fit_in_sequence(cut, [images])
        cut.set_lambda(0.0)
        merged: Any = merge(cut)
        assert merged.get_submodule(f"{NAME}.branch.attn").num_heads == 3
        assert relative_error(merged(images), model(images)) < 1e-3  # up to the ridge


@pytest.mark.parametrize(
    ("heads", "left"),
    [(12, {"narrow-75": 9, "narrow-50": 6, "narrow-25": 3}), (3, {"narrow-75": 2, "narrow-25": 1}), (1, {})],
)
def test_there_is_a_choice_for_every_other_number_of_heads(heads: int, left: dict[str, int]) -> None:
    model = network({"num_heads": heads})
    hidden = site_of(model).hidden
    assert hidden is not None
    assert {choice: hidden.kept_count(choice) for choice in hidden.offered} == left
    on_request = next(block for block in describe(model).blocks if block.name == NAME).on_request
    assert [choice for choice in on_request if choice in SHARES] == list(left)


@pytest.mark.parametrize("more", [{"scale_attn_norm": True}, {"attn_layer": "diff"}], ids=["norm", "another attention"])
def test_heads_that_are_not_apart_are_not_taken_apart(more: dict[str, Any]) -> None:
    attentions = [block for block in describe(network(more)).blocks if block.kind == "vit.attn"]
    assert len(attentions) == 2
    assert not any(choice in block.on_request for block in attentions for choice in SHARES)
    plain = [block for block in describe(network({})).blocks if block.kind == "vit.attn"]
    assert all("narrow-50" in block.on_request for block in plain)


def test_until_they_are_fitted_those_stay_that_count_for_most_by_their_weights() -> None:
    model = made("deit", 0).double()
    site = site_of(model)
    attention: Any = site.kept.branch.attn
    with torch.no_grad():
        attention.proj.weight.unflatten(1, (2, -1))[:, 0] *= 100
    kept: Any = site.layer("narrow-50")
    assert torch.equal(kept.branch.attn.proj.weight, attention.proj.weight[:, : attention.head_dim])
