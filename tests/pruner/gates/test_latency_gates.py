"""Gates that meet a latency exactly: the sum, the limits, the gradients, and the published formulas of two choices."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pruner.gates.latency_gates import GATE_FORMS, KNAPSACK, SHIFT, GateForm
from pruner.masks.topk import soft_topk

FORMS = pytest.mark.parametrize("form", GATE_FORMS.values(), ids=GATE_FORMS)


def problem(seed: int, blocks: int, most: int, share: float) -> tuple[Tensor, Tensor, float]:
    """Scores and costs (blocks, choices), some blocks with fewer choices than others, and a budget between the cheapest
    and the dearest choices."""
    random = torch.Generator().manual_seed(seed)
    costs = torch.rand(blocks, most, dtype=torch.float64, generator=random) + 0.05
    counts = torch.randint(1, most + 1, (blocks,), generator=random)
    counts[0] = most
    costs = costs.masked_fill(torch.arange(most) >= counts[:, None], torch.nan)
    scores = torch.randn(blocks, most, dtype=torch.float64, generator=random)
    return scores, costs, (1 - share) * extreme(costs, math.inf) + share * extreme(costs, -math.inf)


def extreme(costs: Tensor, filled: float) -> float:
    filled_up = costs.masked_fill(costs.isnan(), filled)
    return float((filled_up.amin(1) if filled > 0 else filled_up.amax(1)).sum())


def spent(gates: Tensor, costs: Tensor) -> float:
    return float((gates * costs.nan_to_num()).sum())


@FORMS
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(2, 4), st.floats(0.02, 0.98), st.floats(-4, 1))
def test_the_costs_are_the_budget(form: GateForm, seed: int, blocks: int, most: int, share: float, tau: float) -> None:
    scores, costs, budget = problem(seed, blocks, most, share)
    gates = form.gates(scores, costs, budget, 10**tau)
    assert abs(spent(gates, costs) - budget) <= 1e-9
    assert torch.allclose(gates.sum(1), torch.ones(blocks, dtype=torch.float64), atol=1e-12)
    assert not gates[costs.isnan()].any()
    assert gates.min() >= 0


@FORMS
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(2, 3), st.floats(0.1, 0.9), st.floats(-0.7, 0.5))
def test_the_gradient_is_that_of_the_gates(
    form: GateForm, seed: int, blocks: int, most: int, share: float, tau: float
) -> None:
    scores, costs, budget = problem(seed, blocks, most, share)
    assert torch.autograd.gradcheck(lambda x: form.gates(x, costs, budget, 10**tau), (scores.requires_grad_(),))


def kept_or_dropped(seed: int, blocks: int = 9) -> tuple[Tensor, Tensor, float]:
    """Scores of keeping, what keeping costs, and a budget, for blocks that are kept or dropped."""
    random = torch.Generator().manual_seed(seed)
    w = torch.rand(blocks, dtype=torch.float64, generator=random) + 0.1
    return torch.randn(blocks, dtype=torch.float64, generator=random), w, 0.6 * float(w.sum())


def gradient_of(form: GateForm, x: Tensor, w: Tensor, budget: float, tau: float, g: Tensor) -> tuple[Tensor, Tensor]:
    """The gates of keeping, and what flows back to the scores of keeping when `g` flows back to these gates."""
    scores = torch.stack([x, torch.zeros_like(x)], dim=1).requires_grad_()
    gates = form.gates(scores, torch.stack([w, torch.zeros_like(w)], dim=1), budget, tau)[:, 0]
    (gates * g).sum().backward()
    assert scores.grad is not None
    return gates.detach(), scores.grad[:, 0]


def test_two_choices_in_shift_form() -> None:
    x, w, budget = kept_or_dropped(0)
    g, tau = torch.linspace(-1, 1, 9, dtype=torch.float64), 0.4
    z, grad = gradient_of(SHIFT, x, w, budget, tau, g)
    t = torch.logit(z) - x / tau
    assert torch.allclose(t, t[0].expand_as(t), atol=1e-9)
    v = z * (1 - z)
    assert torch.allclose(grad, v / tau * (g - w * (g * v).sum() / (w * v).sum()), atol=1e-12)


def test_two_choices_in_knapsack_form() -> None:
    x, w, budget = kept_or_dropped(1)
    g, tau = torch.linspace(-1, 1, 9, dtype=torch.float64), 0.4
    z, grad = gradient_of(KNAPSACK, x, w, budget, tau, g)
    price = (x - tau * torch.logit(z)) / w
    assert torch.allclose(price, price[0].expand_as(price), atol=1e-9)
    v = z * (1 - z)
    assert torch.allclose(grad, v / tau * (g - w * (g * w * v).sum() / (w * w * v).sum()), atol=1e-12)


@FORMS
def test_of_equal_costs_it_is_the_soft_top_k(form: GateForm) -> None:
    x = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    scores, costs = torch.stack([x, torch.zeros(12).double()], dim=1), torch.tensor([[3.0, 0.0]]).double().expand(12, 2)
    assert torch.allclose(form.gates(scores, costs, 15.0, 0.3)[:, 0], soft_topk(x, 5, 0.3), atol=1e-12)


@FORMS
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_without_temperature_all_but_a_block_are_decided(form: GateForm, seed: int) -> None:
    scores, costs, budget = problem(seed, 12, 3, 0.55)
    gates = form.gates(scores, costs, budget, 1e-7)
    assert int((gates.amax(1) < 1 - 1e-6).sum()) <= 1
    assert abs(spent(gates, costs) - budget) <= 1e-6


def test_cheap_gates_of_equal_worth_are_kept_by_the_knapsack_form() -> None:
    """Worth 1 each, one ten times as dear as the others: the knapsack form lets that one go, ranks know no price."""
    scores = torch.tensor([[1.0, 0.0]] * 6, dtype=torch.float64)
    costs = torch.tensor([[10.0, 0.0]] + [[1.0, 0.0]] * 5, dtype=torch.float64)
    kept = KNAPSACK.gates(scores, costs, 5.0, 0.01)[:, 0]
    assert torch.allclose(kept, torch.tensor([0.0, 1, 1, 1, 1, 1]).double(), atol=1e-9)
    assert torch.allclose(SHIFT.gates(scores, costs, 5.0, 0.01)[:, 0], torch.full((6,), 1 / 3).double(), atol=1e-9)


@FORMS
@pytest.mark.parametrize(("budget", "kept"), [(100.0, 1.0), (9.0, 1.0), (0.0, 0.0), (-1.0, 0.0)])
def test_a_budget_beyond_the_ends_decides_everything(form: GateForm, budget: float, kept: float) -> None:
    scores = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    costs = torch.tensor([[2.0, 0.0], [3.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    gates = form.gates(scores, costs, budget, 0.5)
    assert torch.equal(gates[:, 0], torch.full((3,), kept, dtype=torch.float64))
    gates[:, 0].sum().backward()
    assert scores.grad is not None
    assert not scores.grad.any()


@FORMS
def test_a_choice_that_costs_less_than_nothing_counts_as_such(form: GateForm) -> None:
    """What is saved may be more than the block itself takes, where less is left to do behind it."""
    costs = torch.tensor([[1.0, -2.0], [1.0, 0.0]], dtype=torch.float64)
    gates = form.gates(torch.zeros(2, 2, dtype=torch.float64), costs, 0.0, 0.5)
    assert abs(spent(gates, costs)) <= 1e-9


@FORMS
def test_a_temperature_is_positive(form: GateForm) -> None:
    with pytest.raises(ValueError, match="a temperature is positive"):
        form.gates(torch.zeros(1, 2), torch.ones(1, 2), 1.0, 0.0)


@FORMS
def test_what_the_gates_are_the_softmax_of(form: GateForm) -> None:
    scores, costs, budget = problem(5, 7, 3, 0.4)
    net = form.net_scores(scores, costs, budget, 0.3)
    gates = torch.softmax(net.masked_fill(costs.isnan(), -torch.inf) / 0.3, dim=1)
    assert torch.allclose(gates, form.gates(scores, costs, budget, 0.3), atol=1e-12)
    moved = scores + 3.0 * form.direction(costs)
    assert torch.allclose(net, form.net_scores(moved, costs, budget, 0.3), atol=1e-8)
