"""The soft top-k: its sum, its limit, its gradient; and the Jacobian that is printed without its normaliser."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pruner.masks.topk import soft_topk


def drawn(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 60), st.floats(0, 1), st.floats(-6, 2), st.floats(-3, 3), st.booleans())
def test_gates_sum_to_k(seed: int, count: int, share: float, tau: float, scale: float, whole: bool) -> None:
    scores = 10**scale * drawn(seed, 3, count)
    k = float(round(share * count)) if whole else share * count
    gates = soft_topk(scores, k, 10 ** (tau + scale))
    assert (gates.sum(-1) - k).abs().max() <= 1e-9
    assert gates.min() >= 0
    assert gates.max() <= 1


def test_many_rows_are_each_as_if_alone() -> None:
    scores, counts = drawn(0, 4, 5, 17), torch.tensor([3.0, 0.0, 17.0, 8.5, 1.0]).double()
    gates = soft_topk(scores, counts.expand(4, 5), 0.2)
    for row in range(4):
        for column in range(5):
            alone = soft_topk(scores[row, column], float(counts[column]), 0.2)
            assert torch.allclose(gates[row, column], alone, atol=1e-12, rtol=0)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.integers(2, 40), st.data())
def test_without_temperature_it_is_the_hard_top_k(seed: int, count: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, count))
    scores = drawn(seed, count).argsort().double()  # apart by 1
    hard = torch.zeros(count, dtype=torch.float64)
    hard[scores.topk(k).indices] = 1
    errors = [float((soft_topk(scores, k, tau) - hard).abs().max()) for tau in (1.0, 0.1, 0.01)]
    assert errors[2] <= 1e-12
    assert errors[0] >= errors[1] >= errors[2]


def test_equal_scores_share_alike() -> None:
    assert torch.allclose(soft_topk(torch.zeros(8), 2, 1e-6), torch.full((8,), 0.25))
    tied = soft_topk(torch.tensor([2.0, 1.0, 1.0, 0.0], dtype=torch.float64), 2, 1e-3)
    assert torch.allclose(tied, torch.tensor([1.0, 0.5, 0.5, 0.0], dtype=torch.float64), atol=1e-12)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.integers(2, 12), st.floats(0.05, 0.95), st.floats(-1, 1))
def test_the_gradient_is_that_of_the_gates(seed: int, count: int, share: float, tau: float) -> None:
    scores = drawn(seed, 2, count).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_topk(x, share * count, 10**tau), (scores,))


def test_a_common_shift_changes_nothing() -> None:
    scores = drawn(3, 30).requires_grad_()
    assert torch.allclose(soft_topk(scores, 7, 0.3), soft_topk(scores + 5, 7, 0.3), atol=1e-12)
    soft_topk(scores, 7, 0.3).square().sum().backward()
    assert scores.grad is not None
    assert abs(float(scores.grad.sum())) < 1e-12
    assert float(scores.grad.abs().max()) > 1e-3


def test_the_jacobian_has_its_normaliser() -> None:
    """Some summaries of the paper print (diag(v) - v v^T) / tau; right is (diag(v) - v v^T / sum v) / tau."""
    scores, tau = drawn(1, 8), 0.7
    measured = torch.autograd.functional.jacobian(lambda x: soft_topk(x, 3, tau), scores)
    step = 1e-6
    differences = torch.stack(
        [
            (soft_topk(scores + step * unit, 3, tau) - soft_topk(scores - step * unit, 3, tau)) / (2 * step)
            for unit in torch.eye(8, dtype=torch.float64)
        ],
        dim=1,
    )
    f = soft_topk(scores, 3, tau)
    v = f * (1 - f)
    right = (torch.diag(v) - torch.outer(v, v) / v.sum()) / tau
    printed = (torch.diag(v) - torch.outer(v, v)) / tau
    assert (measured - right).abs().max() < 1e-12
    assert (differences - right).abs().max() < 1e-8
    assert (differences - printed).abs().max() > 1e-2


def test_single_precision_is_computed_in_double() -> None:
    scores = drawn(0, 4, 1000, dtype=torch.float32).requires_grad_()
    gates = soft_topk(scores, 250, 1e-2)
    assert gates.dtype == torch.float32
    exact = soft_topk(scores.double(), 250, 1e-2)
    assert torch.equal(gates, exact.float())
    assert (gates.double().sum(-1) - 250).abs().max() < 1e-4
    gates.square().sum().backward()
    assert scores.grad is not None
    assert scores.grad.dtype == torch.float32
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("k", [-1, 5, 4.001])
def test_a_sum_that_cannot_be_is_refused(k: float) -> None:
    with pytest.raises(ValueError, match="4 gates can sum to 0 to 4"):
        soft_topk(torch.zeros(4), k, 1.0)


def test_a_temperature_is_positive() -> None:
    with pytest.raises(ValueError, match="a temperature is positive, not 0"):
        soft_topk(torch.zeros(4), 1, 0.0)


@pytest.mark.parametrize(("k", "gate"), [(0, 0.0), (4, 1.0)])
def test_none_and_all_have_nothing_to_learn(k: int, gate: float) -> None:
    scores = drawn(0, 4).requires_grad_()
    gates = soft_topk(scores, k, 0.5)
    assert torch.equal(gates, torch.full((4,), gate, dtype=torch.float64))
    gates.square().sum().backward()
    assert scores.grad is not None
    assert not scores.grad.any()
