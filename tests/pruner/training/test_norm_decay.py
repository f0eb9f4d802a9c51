"""Gates that close by norm: what is pruned shrinks in equal steps, whatever the weights do meanwhile."""

import pytest
import torch

from networks import images_for, made
from pruner.choices.chain import Chain
from pruner.choices.choice import KEEP
from pruner.choices.plan import Plan
from pruner.errors import SettingsError
from pruner.network.surgery import apply, describe
from pruner.training.norm_decay import NormDecay
from pruner.training.progressive import Progressive
from pruner.training.train_step import TrainStep


def all_cut(chain: Chain) -> Plan:
    return chain.plan({block.name: block.choices[-1] for block in chain.blocks if block.choices[-1] != KEEP})


@pytest.mark.parametrize("shape", ["digits", "layer scale", "basic", "convnext", "inverted residual"])
def test_what_is_pruned_shrinks_in_equal_steps(shape: str) -> None:
    model = made(shape, seed=0)
    cut = apply(model, all_cut(describe(model)))
    closing = NormDecay.of(cut, 0.4)
    began = {name: float(cut.sites[name].ending().detach().norm()) for name in cut.plan.choices}
    random = torch.Generator().manual_seed(0)
    for share in (0.0, 0.1, 0.2, 0.3):
        with torch.no_grad():
            for name in cut.plan.choices:  # a training moves them
                cut.sites[name].ending().mul_(1.0 + 0.3 * float(torch.rand((), generator=random)))
        lams = closing.lams(share)
        for name, lam in lams.items():
            left = lam * float(cut.sites[name].ending().detach().norm())
            assert left == pytest.approx(began[name] * (1 - share / 0.4), rel=1e-5)
    assert set(closing.lams(0.4).values()) == set(closing.lams(1.0).values()) == {0.0}


def test_no_gate_opens_further_than_the_baseline() -> None:
    model = made("digits", seed=0)
    cut = apply(model, all_cut(describe(model)))
    closing = NormDecay.of(cut, 0.5)
    assert set(closing.lams(0.0).values()) == {1.0}
    with torch.no_grad():
        cut.sites["blocks.0.attn"].ending().mul_(0.1)
        cut.sites["blocks.1.attn"].ending().zero_()
    lams = closing.lams(0.25)
    assert lams["blocks.0.attn"] == lams["blocks.1.attn"] == 1.0
    assert lams["blocks.2.attn"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("shape", "block", "parameter"),
    [
        ("digits", "blocks.1.attn", "blocks.1.attn.proj.weight"),
        ("digits", "blocks.1.mlp", "blocks.1.mlp.fc2.weight"),
        ("layer scale", "blocks.1.mlp", "blocks.1.ls2.gamma"),
        ("basic", "layer1.1", "layer1.1.bn2.weight"),
        ("convnext", "stages.1.blocks.0", "stages.1.blocks.0.gamma"),
    ],
)
def test_what_a_branch_ends_with(shape: str, block: str, parameter: str) -> None:
    model = made(shape, seed=0)
    ending = apply(model, Plan(describe(model).model)).sites[block].ending()
    assert torch.equal(ending, model.get_parameter(parameter))


def test_it_closes_the_gates_of_a_training() -> None:
    model = made("digits", seed=0)
    cut = apply(model, all_cut(describe(model)))
    objective = Progressive(cut, None, NormDecay.of(cut, 0.5))
    images = images_for(model, torch.float32)
    objective(images, torch.zeros(len(images), dtype=torch.long), TrainStep(1, 4, 0))
    assert [site.lam for site in cut.sites.values()] == pytest.approx([0.5] * len(cut.sites))
    assert objective.lam(TrainStep(1, 4, 0)) == pytest.approx(0.5)
    objective(images, torch.zeros(len(images), dtype=torch.long), TrainStep(2, 4, 0))
    assert {site.lam for site in cut.sites.values()} == {0.0}


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_is_a_share(share: float) -> None:
    model = made("digits", seed=0)
    with pytest.raises(SettingsError, match=r"a share of the training in \(0, 1\]"):
        NormDecay.of(apply(model, all_cut(describe(model))), share)
