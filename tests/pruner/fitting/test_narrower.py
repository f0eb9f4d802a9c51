"""Blocks that keep some of their inner channels: which ones, what is made of them, and that both ends are exact."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from networks import SHAPES, images_for, made, relative_error
from pruner.choices.choice import SHARES
from pruner.choices.plan import Plan
from pruner.fitting.at_once import works_of_site
from pruner.fitting.fits import Key
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.fitting.narrower import nested_order
from pruner.fitting.sums import Sums
from pruner.network.surgery import Cut, apply, describe, merge

NETWORKS = tuple(shape for shape in SHAPES if shape != "grouped")  # which reads its channels in groups
OTHER_SHARES = tuple(choice for choice in SHARES if choice != "narrow-50")


def narrowing(model: nn.Module, choice: str) -> Plan:
    """Every block that can, in this way, or where it has it not in its narrowest."""
    chain = describe(model)
    ways = {block.name: [share for share in SHARES if share in block.on_request] for block in chain.blocks}
    return chain.plan({name: choice if choice in own else own[-1] for name, own in ways.items() if own})


def closed(model: nn.Module, plan: Plan, images: torch.Tensor) -> Cut:
    cut = apply(model, plan).eval()
    with torch.no_grad():
        assert torch.equal(cut(images), model(images))
        fit_in_sequence(cut, [images])
    cut.set_lambda(0.0)
    return cut


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("choice", ["narrow-50", *(pytest.param(c, marks=pytest.mark.grid) for c in OTHER_SHARES)])
def test_it_is_the_baseline_at_one_and_merges_exactly_at_zero(name: str, choice: str) -> None:
    model = made(name, 0).double()
    images = images_for(model, torch.float64)
    plan = narrowing(model, choice)
    assert plan.choices
    cut = closed(model, plan, images)
    with torch.no_grad():
        merged = merge(cut)
        assert relative_error(merged(images), cut(images)) <= 1e-10
    whole = merge(closed(model, Plan(plan.model), images))
    assert parameters(merged) < parameters(whole)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def rows(channels: int, taps: int, targets: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features that depend on one another, and targets that depend on them, with noise."""
    random = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    features = channels * taps
    x = drawn(400, features) @ (torch.eye(features, dtype=torch.float64) + 0.5 * drawn(features, features)) + 1
    return x, x @ drawn(features, targets) + 3 * drawn(400, targets) - 2


def loss(x: torch.Tensor, y: torch.Tensor) -> float:
    """Of the best layer on these features, by another solver."""
    both = np.hstack([x.numpy(), np.ones((len(x), 1))])
    found, *_ = np.linalg.lstsq(both, y.numpy(), rcond=None)
    return float(np.square(y.numpy() - both @ found).sum())


@pytest.mark.parametrize("taps", [1, 9])
def test_that_channel_goes_which_is_missed_least_when_the_others_are_refitted(taps: int) -> None:
    channels = 7
    x, y = rows(channels, taps, targets=3)
    sums = Sums.empty(channels * taps, 3)
    sums.add(x, y)
    order = nested_order(sums, taps, fewest=2)
    assert sorted(order.tolist()) == list(range(channels))
    left = list(range(channels))
    for gone in reversed(order[2:].tolist()):
        losses = {one: loss(x[:, [c * taps + t for c in left if c != one for t in range(taps)]], y) for one in left}
        assert losses[gone] <= min(losses.values()) * (1 + 1e-3)  # up to the ridge
        left.remove(gone)


def test_what_is_left_is_fitted_as_well_as_can_be() -> None:
    """With some of its inner channels a block's last layer is the least-squares fit to what the block computed."""
    site = apply(made("deit", 0).double(), Plan("deit_tiny_patch16_224")).eval().sites["blocks.0.mlp"]
    x = torch.randn(200, 17, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (work,) = works_of_site(site, ["narrow-50"], (), len(x))
    with torch.no_grad():
        work.add(x, [site.kept(x)], torch.ones(200, 17), 0)
        (fit,) = work.fits().values()
        layer: Any = site.layer("narrow-50")
        fit.put_into(layer)
        mlp = layer.branch.mlp
        z = mlp.act(mlp.fc1(layer.branch.norm(x))).flatten(0, 1)
        target = (site.kept(x) - x).flatten(0, 1)
        found = float((mlp.fc2(z) - target).square().sum())
    assert len(mlp.fc1.weight) == 48
    assert loss(z, target) * (1 - 1e-9) <= found <= 1.001 * loss(z, target)  # up to the ridge
    assert 0 < fit.error < 1


@pytest.mark.parametrize("shape", ["basic", "inverted residual"])
def test_a_batch_norm_behind_is_the_identity_and_has_the_statistics_of_the_images(shape: str) -> None:
    network = apply(made(shape, 0).double(), Plan(describe(made(shape, 0)).model)).eval()
    site = next(site for site in network.sites.values() if site.hidden is not None and site.hidden.offered)
    choice = site.hidden.offered[0]
    x: Any = images_for(network.network, torch.float64)
    with torch.no_grad():
        for part in itertools.takewhile(lambda one: one.module is not site, network.parts()):
            x = part.module(x)
        y, _ = site.before_end(x)
        (work,) = works_of_site(site, [choice], (), len(x))
        work.add(x, [y], torch.ones(len(y), y[0, 0].numel()), 0)
        work.fits()[Key(site.block.name, choice)].put_into(site.layer(choice))
        norm: Any = site.layer(choice).bn2
        seen: list[torch.Tensor] = []
        norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        site.layer(choice)(x)
        (before,) = seen
        torch.testing.assert_close(norm(before), before + (norm.bias - norm.running_mean)[:, None, None])
    torch.testing.assert_close(before.mean((0, 2, 3)), norm.running_mean)
    torch.testing.assert_close(before.var((0, 2, 3), correction=0), norm.running_var)


def test_what_cannot_be_narrowed_is_not_offered() -> None:
    """A grouped convolution, what ends the block standing between as well, an activation with weights of its own."""
    grouped = describe(made("grouped", 0))
    assert not any(choice in block.on_request for block in grouped.blocks for choice in SHARES)
    shared = made("basic", 0)
    for block in shared.layer1:
        block.act2 = block.act1
    learned = made("basic", 0)
    for block in learned.layer1:
        block.act1 = nn.PReLU(block.conv1.out_channels)
    for model in (shared, learned):
        blocks = {block.name: block for block in describe(model).blocks}
        assert not any(choice in blocks["layer1.0"].on_request for choice in SHARES)
        assert any(choice in blocks["layer3.0"].on_request for choice in SHARES)
