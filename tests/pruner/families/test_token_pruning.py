"""Tokens left out behind an attention: the important ones stay, in their order, once in a network."""

from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from networks import images_for, made, relative_error
from pruner.choices.choice import THIN
from pruner.choices.plan import Plan
from pruner.families.token_pruning import importance, kept_count
from pruner.models.load import load_model
from pruner.network.surgery import apply, describe, merge, supernet

SHAPES = ("deit", "no bias", "layer scale", "pooled, no class token", "distilled", "odd width")


def attention_of(tokens: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(3, 2, tokens, tokens, generator=random, dtype=torch.float64)).softmax(dim=-1)


def test_importance_is_what_tokens_hand_on_along_the_attention_until_it_settles() -> None:
    attention = attention_of(9)
    found = importance(attention)
    graph = attention.mean(dim=1)
    handed_on = torch.einsum("bi,bij->bj", found, graph)
    assert float((handed_on - found).abs().max()) < 1e-6
    assert found.sum(dim=-1).tolist() == pytest.approx([1.0] * 3)
    eigenvalues, vectors = torch.linalg.eig(graph[0].T)
    stationary = vectors[:, int(eigenvalues.real.argmax())].real
    assert torch.allclose(found[0], stationary / stationary.sum(), atol=1e-6)


def test_a_token_counts_as_much_as_those_that_attend_to_it() -> None:
    # 3 is attended to by all, and attends to 1 alone; nobody attends to 0 and 2.
    rows = [[0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 0.0, 0.5], [0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]]
    found = importance(torch.tensor(rows, dtype=torch.float64)[None, None])
    assert found[0].tolist() == pytest.approx([0, 2 / 3, 0, 1 / 3], abs=1e-4)


@pytest.mark.parametrize(("patches", "kept"), [(196, 138), (64, 45), (16, 12), (10, 7), (20, 14), (4, 3)])
def test_seven_in_ten_stay_rounded_up(patches: int, kept: int) -> None:
    assert kept_count(patches) == kept


@pytest.mark.parametrize("shape", SHAPES)
def test_the_most_important_tokens_stay_in_their_order_and_those_in_front_always(shape: str) -> None:
    model: Any = made(shape, 0).double().eval()
    name, prefix = "blocks.0.attn", model.num_prefix_tokens
    cut = apply(model, describe(model).plan({name: THIN})).eval()
    site = cut.sites[name]
    seen: dict[str, Tensor] = {}
    site.register_forward_hook(lambda _site, inputs, y: seen.update(x=inputs[0], y=y))
    images = images_for(model, torch.float64)
    with torch.no_grad():
        cut.set_lambda(0.25)
        cut(images)
        x, found, whole = seen["x"], seen["y"], site.kept(seen["x"])
        block: Any = model.blocks[0]
        qkv = block.attn.qkv(block.norm1(x)).unflatten(-1, (3, block.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        scores = importance((qkv[0] @ qkv[1].transpose(-2, -1) * block.attn.scale).softmax(dim=-1))[:, prefix:]
    assert found.shape[1] == prefix + kept_count(whole.shape[1] - prefix) < whole.shape[1]
    for image in range(len(x)):
        places = sorted(scores[image].argsort(descending=True)[: found.shape[1] - prefix].tolist())
        expected = whole[image][[*range(prefix), *(prefix + place for place in places)]]
        assert relative_error(found[image], expected) < 1e-12


def test_a_network_thins_once_by_the_first_block_that_is_told_to() -> None:
    model = made("deit", 0).double().eval()
    chain, images = describe(model), images_for(model, torch.float64)
    first = chain.plan({"blocks.1.attn": THIN, "blocks.2.mlp": "merge"})
    again = chain.plan({**first.choices, "blocks.2.attn": THIN})
    assert chain.normalised(again) == first
    assert chain.normalised(first) is first
    assert chain.counts(again) == chain.counts(first)
    cut, same = apply(model, first).eval(), apply(model, again).eval()
    with torch.no_grad():
        for lam in (1.0, 0.5, 0.0):
            cut.set_lambda(lam)
            same.set_lambda(lam)
            assert torch.equal(cut(images), same(images))
        # The first is the first, wherever its gate is.
        same.set_lambdas({"blocks.1.attn": 1.0, "blocks.2.attn": 0.0, "blocks.2.mlp": 1.0})
        assert torch.equal(same(images), model(images))
        same.set_lambda(0.0)
        assert torch.equal(merge(same)(images), merge(cut)(images))
    shared = supernet(model, [THIN]).eval()
    with torch.no_grad():
        shared.select(first)
        expected = shared(images)
        shared.select(again)
        assert torch.equal(shared(images), expected)


def test_random_plans_thin_at_every_place_and_once() -> None:
    chain = describe(made("deit", 0), ["narrow", THIN])
    random = Random(0)
    plans = [chain.random_plan(0.5, random) for _ in range(200)]
    told = [[name for name, choice in plan.choices.items() if choice == THIN] for plan in plans]
    assert max(map(len, told)) == 1
    counts = [sum([name] == one for one in told) for name in chain.thinning]
    assert len(counts) == 3
    assert min(counts) >= 20


@pytest.mark.parametrize(
    ("entry", "more", "reason"),
    [
        ("vit_tiny_patch16_224", {"img_size": 32, "dynamic_img_size": True}, "its tokens depends on the image"),
        ("vit_tiny_patch16_224", {"img_size": 32, "patch_drop_rate": 0.5}, "its tokens differs in training"),
        ("vit_tiny_patch16_224", {"img_size": 16}, "it has too few tokens for that: 1"),
        ("vit_tiny_patch16_224", {"img_size": 64, "attn_layer": "diff"}, "its DiffAttention is no plain attention"),
    ],
)
def test_what_cannot_be_thinned_says_why(entry: str, more: dict[str, Any], reason: str) -> None:
    chain = describe(load_model(entry, depth=2, num_classes=5, **more), [THIN])
    assert not chain.thinning
    assert all(reason in dict(block.refused)[THIN] for block in chain.blocks if block.kind == "vit.attn")


def test_a_plan_that_thins_is_trained_through() -> None:
    model = made("deit", 0)
    cut = apply(model, Plan(describe(model).model, {"blocks.1.attn": THIN, "blocks.2.attn": "narrow"})).train()
    for lam in (1.0, 0.5, 0.0):
        cut.set_lambda(lam)
        cut.zero_grad()
        cut(images_for(model, torch.float32)).square().sum().backward()
        grads = [parameter.grad for site in cut.sites.values() for parameter in site.kept.parameters()]
        assert all(grad is not None and bool(grad.isfinite().all()) for grad in grads)
