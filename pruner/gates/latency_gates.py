"""Gates on the choices of blocks, whose expected latency is exactly the budget at every step.

Every block has a gate for each of its choices, and the gates of a block sum to 1. All arrays are (blocks, choices). A
block with fewer choices than others has the cost `nan` in the places that are left.

This generalises the soft top-k of the SMART pruner (arXiv 2403.19969) from counts to latencies, and from two choices to
many; the generalisation is not from the paper. The nearest theory is a differentiable knapsack (arXiv 2601.21775).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pruner.gates.roots import rising_root

_MOST_DOUBLINGS: Final = 80


@dataclass(frozen=True)
class GateForm:
    """How scores x and costs w become gates z.

    z = softmax((x + t a) / tau) over the choices of a block, where the one number t is such that the expected cost
    <w, z> over all blocks is the budget. The gradient is that of the implicit function.

    Attributes:
        direction: Costs (blocks, choices) -> a (blocks, choices), which rises with the costs within a block.

    Example:
        Two blocks that cost 2 ms and 1 ms to keep and nothing to drop, with 2 ms to spend:

        >>> import torch
        >>> from pruner.gates.latency_gates import KNAPSACK
        >>> costs = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
        >>> gates = KNAPSACK.gates(torch.zeros(2, 2), costs, budget=2.0, tau=0.1)
        >>> round((gates * costs).sum().item(), 4)
        2.0
    """

    direction: Callable[[Tensor], Tensor]

    def gates(self, scores: Tensor, costs: Tensor, budget: float, tau: float) -> Tensor:
        """The gates whose expected cost is the budget.

        A budget of at least the cost of all dearest choices selects these; a budget of at most the cost of all cheapest
        choices selects those.

        Args:
            scores: (blocks, choices); a higher score makes the choice likelier.
            costs: (blocks, choices) what each choice costs; nan where a block has no such choice.
            budget: The sum of the expected costs of all blocks, in the unit of the costs.
            tau: The temperature.

        Returns:
            (blocks, choices) in the dtype of the scores; 0 where there is no choice.

        Raises:
            ValueError: when the temperature is not positive.
        """
        if tau <= 0:
            raise ValueError(f"a temperature is positive, not {tau}")
        direction = self.direction(costs).double()
        gates: Tensor = _Gates.apply(scores, costs.double(), direction, budget, tau)
        return gates

    def net_scores(self, scores: Tensor, costs: Tensor, budget: float, tau: float) -> Tensor:
        """The scores with the price of latency taken into account: x + t a, of which the gates are the softmax.

        Scores alone do not say whether a choice pays, because a multiple of the direction added to them changes no
        gate.

        Args:
            scores: (blocks, choices).
            costs: (blocks, choices) what each choice costs; nan where a block has no such choice.
            budget: The sum of the expected costs of all blocks, in the unit of the costs.
            tau: The temperature.

        Returns:
            (blocks, choices) in float64.
        """
        costs, direction = costs.double(), self.direction(costs).double()
        return scores.detach().double() + _shift(scores.detach().double(), costs, direction, budget, tau) * direction


def _ranks(costs: Tensor) -> Tensor:
    """The ranks of the costs within each block, from 0 for the cheapest to 1 for the dearest; equal costs have equal
    ranks."""
    below = (costs[:, None, :] < costs[:, :, None]).sum(-1).double()
    return below / below.masked_fill(costs.isnan(), 0.0).amax(1, keepdim=True).clamp(min=1.0)


def _relative(costs: Tensor) -> Tensor:
    """The costs themselves, in units of the largest difference within any block; 0 where there is no choice."""
    missing = costs.isnan()
    spread = (costs.masked_fill(missing, -torch.inf).amax(1) - costs.masked_fill(missing, torch.inf).amin(1)).amax()
    return torch.where(missing, 0.0, costs) / torch.where(spread > 0, spread, 1.0)


SHIFT: Final = GateForm(_ranks)
"""Gates by rank of cost: a block's score says how it compares with the others, whatever their latencies.

For blocks that are kept or dropped, z = sigmoid((x + t) / tau), and the gradient goes from g to
(v / tau) (g - w <g, v> / <w, v>) with v = z (1 - z).
"""

KNAPSACK: Final = GateForm(_relative)
"""Gates of the relaxed knapsack problem, with a price mu for latency: a score says what a choice is worth.

For blocks that are kept or dropped, z = sigmoid((x - mu w) / tau), and the gradient goes from g to
(v / tau) (g - w <g, w v> / <w^2, v>) with v = z (1 - z).
"""

GATE_FORMS: Final[Mapping[str, GateForm]] = MappingProxyType({"knapsack": KNAPSACK, "shift": SHIFT})
"""Every form of the gates by its name."""


class _Gates(torch.autograd.Function):
    """The gradient is that of the implicit function: with means and covariances over each block's gates, from g to
    z (g - mean g) / tau - z (w - mean w) / tau * sum cov(g, a) / sum cov(w, a), a the direction."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, costs: Tensor, direction: Tensor, budget: float, tau: float) -> Tensor:
        missing = costs.isnan()
        w, x = torch.where(missing, 0.0, costs), scores.detach().double()
        cheapest, dearest = w.masked_fill(missing, torch.inf).amin(1), w.masked_fill(missing, -torch.inf).amax(1)
        if float(cheapest.sum()) < budget < float(dearest.sum()):
            z = _softmax(x + _shift(x, costs, direction, budget, tau) * direction, missing, tau)
        else:
            end = cheapest if budget <= float(cheapest.sum()) else dearest
            chosen = (w == end[:, None]) & ~missing
            z = _softmax(x, ~chosen, tau)
            direction = torch.zeros_like(direction)  # choices of equal cost have no latency to exchange
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


def _softmax(scores: Tensor, missing: Tensor, tau: float) -> Tensor:
    return torch.softmax(scores.masked_fill(missing, -torch.inf) / tau, dim=1)


def _shift(x: Tensor, costs: Tensor, direction: Tensor, budget: float, tau: float) -> Tensor:
    """The t at which the expected cost is the budget; a value far out where no t reaches it."""
    missing = costs.isnan()
    w = torch.where(missing, 0.0, costs)

    def excess(t: Tensor) -> tuple[Tensor, Tensor]:
        z = _softmax(x + t * direction, missing, tau)
        return (w * z).sum() - budget, _covariance(z, w, direction) / tau

    known = x[~missing]
    reach = float(known.amax() - known.amin()) + tau
    low = high = x.new_zeros(())
    for _ in range(_MOST_DOUBLINGS):
        if float(excess(low)[0]) <= 0 <= float(excess(high)[0]):
            break
        low, high, reach = low - reach, high + reach, 2 * reach
    return rising_root(excess, low, high, (low + high) / 2)


def _mean(z: Tensor, values: Tensor) -> Tensor:
    """The mean over each block's gates, (blocks, 1)."""
    return (z * values).sum(1, keepdim=True)


def _covariance(z: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """The sum over the blocks of the covariance within each."""
    return (z * (one - _mean(z, one)) * (other - _mean(z, other))).sum()
