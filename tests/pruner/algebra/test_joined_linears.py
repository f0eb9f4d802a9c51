"""Two linears with nothing left between them are trained as two and run as one."""

import pytest
import torch
from torch import Tensor, nn

from networks import made
from pruner.algebra.branch import run_padded_once
from pruner.algebra.steps import Activation, Linear, LinearPair, Noise, Step, run_in_turn
from pruner.choices.plan import Plan
from pruner.network.surgery import apply, describe

SHAPES = {"few tokens": (1, 2, 6), "many tokens": (4, 9, 6), "images": (3, 6, 5, 4)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("biased", [(True, True), (False, True), (True, False), (False, False)])
def test_one_linear_computes_and_learns_what_two_do(shape: str, biased: tuple[bool, bool]) -> None:
    torch.manual_seed(0)
    over_channels = shape == "images"
    first, second = nn.Linear(6, 24, biased[0]).double(), nn.Linear(24, 5, biased[1]).double()
    steps: list[Step] = [Linear(first, over_channels), Activation(nn.GELU()), Linear(second, over_channels)]
    x = torch.randn(SHAPES[shape], dtype=torch.float64)

    def outcome(y: Tensor) -> list[Tensor]:
        first.zero_grad()
        second.zero_grad()
        (y * y).sum().backward()
        grads = [p.grad.clone() for p in (*first.parameters(), *second.parameters()) if p.grad is not None]
        return [y.detach(), *grads]

    for one, two in zip(outcome(run_padded_once(steps, x, 0.0)), outcome(run_in_turn(steps, x, 0.0)), strict=True):
        torch.testing.assert_close(one, two)


def test_they_are_run_as_one_only_where_that_is_less_work() -> None:
    pair = LinearPair(Linear(nn.Linear(8, 32)), Linear(nn.Linear(32, 8)))
    calls: list[int] = []
    pair.first.linear.register_forward_hook(lambda *_: calls.append(1))
    pair.run(torch.randn(2, 1, 8), 0.0)
    assert calls == [1]
    pair.run(torch.randn(2, 50, 8), 0.0)
    assert calls == [1]


def test_dropout_between_them_keeps_them_apart() -> None:
    first, second = nn.Linear(6, 24), nn.Linear(24, 5)
    x = torch.randn(4, 50, 6)
    for dropout, calls in ((nn.Dropout(0.0), 0), (nn.Dropout(0.5), 1)):
        seen: list[int] = []
        hook = first.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        run_padded_once([Linear(first), Activation(nn.ReLU()), Noise(dropout), Linear(second)], x, 0.0)
        hook.remove()
        assert len(seen) == calls


def test_a_merged_ffn_costs_one_linear_to_train() -> None:
    baseline = made("digits", seed=0)
    cut = apply(baseline, Plan(describe(baseline).model, {"blocks.0.mlp": "merge"})).train()
    wide = cut.network.get_submodule("blocks.0.mlp.kept.branch.mlp.fc1")
    seen: list[int] = []
    wide.register_forward_hook(lambda *_: seen.append(1))
    for lam, calls in ((1.0, 1), (0.5, 1), (0.0, 0)):
        seen.clear()
        cut.set_lambda(lam)
        cut(torch.randn(8, 3, 32, 32))
        assert len(seen) == calls
