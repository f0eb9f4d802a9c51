"""Gates on the choices of blocks whose expected latency is the budget, exactly, at every step.

Every block has a gate for each of its choices, and they sum to 1. All arrays are (blocks, choices); a block with fewer
choices than others has `nan` for the cost of those that it has not.

A generalization, of our own, of the soft top-k (SMART pruner, arXiv 2403.19969): of counts to latencies, and of two
choices to many. The nearest theory is a differentiable knapsack (arXiv 2601.21775).
"""

from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pruner.masks.roots import rising_root

_MOST_DOUBLINGS: Final = 80


def shift_gates(scores: Tensor, costs: Tensor, budget: float, tau: float) -> Tensor:
    """z = softmax over choices of (x + t r) / tau, t such that the costs, <w, z>, sum to the budget.

    r is the rank of a choice in its block by cost, from 0 for the cheapest to 1 for the dearest: for blocks that are
    kept or dropped, z = sigmoid((x + t) / tau), and the gradient goes from g to (v / tau) (g - w <g, v> / <w, v>) with
    v = z (1 - z). A block's score says how it compares with the others whatever their latencies.

    Returns z (blocks, choices), 0 where there is no choice. A budget of the dearest choices or more selects these, one
    of the cheapest or less those.
    """
    return _gates(scores, costs, _ranks(costs), budget, tau)


def knapsack_gates(scores: Tensor, costs: Tensor, budget: float, tau: float) -> Tensor:
    """z = softmax over choices of (x - mu w) / tau, mu such that the costs, <w, z>, sum to the budget.

    The relaxed knapsack problem with its price mu for latency: a score says what a choice is worth. For blocks that
    are kept or dropped the gradient goes from g to (v / tau) (g - w <g, w v> / <w^2, v>).
    """
    known = torch.where(costs.isnan(), 0.0, costs)
    spread = _spread(costs).amax()
    return _gates(scores, costs, known / spread if spread > 0 else known, budget, tau)


def _gates(scores: Tensor, costs: Tensor, direction: Tensor, budget: float, tau: float) -> Tensor:
    if tau <= 0:
        raise ValueError(f"a temperature is positive, not {tau}")
    gates: Tensor = _ChoiceGates.apply(scores, costs.double(), direction.double(), budget, tau)  # type: ignore[no-untyped-call]
    return gates


def _ranks(costs: Tensor) -> Tensor:
    """Within each block, from 0 for the cheapest to 1 for the dearest; choices of equal cost have the same."""
    below = (costs[:, None, :] < costs[:, :, None]).sum(-1).double()
    return below / below.masked_fill(costs.isnan(), 0.0).amax(1, keepdim=True).clamp(min=1.0)


def _spread(costs: Tensor) -> Tensor:
    """(blocks,) how much the dearest choice takes more than the cheapest."""
    missing = costs.isnan()
    return costs.masked_fill(missing, -torch.inf).amax(1) - costs.masked_fill(missing, torch.inf).amin(1)


class _ChoiceGates(torch.autograd.Function):
    """The gradient is that of the implicit function: with means and covariances over each block's gates, from g to
    z (g - mean g) / tau - z (w - mean w) / tau * sum cov(g, a) / sum cov(w, a), a the direction."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, costs: Tensor, direction: Tensor, budget: float, tau: float) -> Tensor:
        missing = costs.isnan()
        w = torch.where(missing, 0.0, costs)
        x = scores.detach().double().masked_fill(missing, -torch.inf)

        def gates(t: Tensor) -> Tensor:
            return torch.softmax((x + t * direction) / tau, dim=1)

        def excess(t: Tensor) -> tuple[Tensor, Tensor]:
            z = gates(t)
            return (w * z).sum() - budget, _covariance(z, w, direction) / tau

        cheapest, dearest = w.masked_fill(missing, torch.inf).amin(1), w.masked_fill(missing, -torch.inf).amax(1)
        if float(cheapest.sum()) < budget < float(dearest.sum()):
            z = gates(rising_root(excess, *_bracket(excess, x, tau)))
        else:
            end = cheapest if budget <= float(cheapest.sum()) else dearest
            chosen = (w == end[:, None]) & ~missing
            z = torch.softmax(x.masked_fill(~chosen, -torch.inf) / tau, dim=1)
            direction = torch.zeros_like(direction)  # within the chosen costs nothing is left to exchange
        ctx.save_for_backward(z, w, direction)
        ctx.tau = tau
        return z.to(scores.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        z, w, direction = ctx.saved_tensors
        g = gradient.double()
        slope = _covariance(z, w, direction)
        price = torch.where(slope > 0, _covariance(z, g, direction) / slope, 0.0)
        centred = (g - _mean(z, g)) - price * (w - _mean(z, w))
        return (z * centred / ctx.tau).to(gradient.dtype), None, None, None, None


def _bracket(excess: Any, x: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Between which t the root lies, by doubling."""
    finite = x[x.isfinite()]
    reach = float(finite.amax() - finite.amin()) + tau
    low = high = x.new_zeros(())
    for _ in range(_MOST_DOUBLINGS):
        if float(excess(low)[0]) <= 0 <= float(excess(high)[0]):
            break
        low, high, reach = low - reach, high + reach, 2 * reach
    return low, high


def _mean(z: Tensor, values: Tensor) -> Tensor:
    """(blocks, 1) of each block."""
    return (z * values).sum(1, keepdim=True)


def _covariance(z: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """The sum over the blocks of the covariance within each."""
    return (z * (one - _mean(z, one)) * (other - _mean(z, other))).sum()
