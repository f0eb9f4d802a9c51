"""The soft top-k of the SMART pruner: gates between 0 and 1 that sum to exactly k and have gradients."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pruner.gates.roots import rising_root


def soft_topk(scores: Tensor, k: float | Tensor, tau: float) -> Tensor:
    """The soft top-k of scores x: gates f_i = sigmoid((x_i - theta) / tau), with theta such that they sum to k.

    As tau falls to 0, f goes to 1 for the k largest scores and to 0 for the others. The gates are computed in float64
    whatever the dtype of the scores is.

    SMART pruner (arXiv 2403.19969). With v = f (1 - f), the gradient is that of the implicit function: from g to
    (v / tau) (g - <g, v> / sum v). Gradients sum to zero, because a common shift of the scores changes nothing.

    Args:
        scores: (..., n).
        k: What the gates sum to, in [0, n]: one number, or (...).
        tau: The temperature.

    Returns:
        (..., n) in the dtype of the scores.

    Raises:
        ValueError: when `k` is outside [0, n], or the temperature is not positive.

    Example:
        >>> import torch
        >>> from pruner.masks.topk import soft_topk
        >>> gates = soft_topk(torch.tensor([0.1, 0.9, 0.5, 0.2]), k=2, tau=0.01)
        >>> [round(gate, 3) for gate in gates.tolist()]
        [0.0, 1.0, 1.0, 0.0]
    """
    if tau <= 0:
        raise ValueError(f"a temperature is positive, not {tau}")
    count = scores.shape[-1]
    number = torch.as_tensor(k, dtype=torch.float64, device=scores.device).expand(scores.shape[:-1])
    if bool(((number < 0) | (number > count)).any()):
        raise ValueError(f"{count} gates can sum to 0 to {count}, not to {k}")
    gates: Tensor = _SoftTopK.apply(scores, number, tau)
    return gates


def _cold_theta(x: Tensor, number: Tensor, tau: float) -> Tensor:
    """Where theta lies at low temperatures, (...), from which the search for it starts.

    For a whole k it is midway between the k-th largest score and the next. Else it is where the gate of the next score
    is the fraction of k.
    """
    ordered, part = x.sort(dim=-1, descending=True).values, number - number.floor()
    place = number.long().clamp(max=x.shape[-1] - 1)[..., None]
    last, after = ordered.gather(-1, (place - 1).clamp(min=0))[..., 0], ordered.gather(-1, place)[..., 0]
    partly_in = after - tau * torch.logit(part.clamp(1e-12, 1 - 1e-12))
    return torch.where(part > 0, partly_in, (last + after) / 2)


class _SoftTopK(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, number: Tensor, tau: float) -> Tensor:
        x = scores.detach().double()
        count = x.shape[-1]
        # Where all scores are equal, every gate is k / n; the least and the largest score bracket theta so.
        share = (number / count).clamp(1e-12, 1 - 1e-12)
        shift = tau * torch.logit(share)

        def excess(minus_theta: Tensor) -> tuple[Tensor, Tensor]:
            f = torch.sigmoid((x + minus_theta[..., None]) / tau)
            return f.sum(-1) - number, (f * (1 - f)).sum(-1) / tau

        minus_theta = rising_root(excess, shift - x.amax(-1), shift - x.amin(-1), -_cold_theta(x, number, tau))
        z = (x + minus_theta[..., None]) / tau
        f, v = torch.sigmoid(z), torch.sigmoid(z) * torch.sigmoid(-z)
        decided = ((number <= 0) | (number >= count))[..., None]
        f, v = torch.where(decided, (number > 0).double()[..., None], f), torch.where(decided, 0.0, v)
        ctx.save_for_backward(v)
        ctx.tau = tau
        return f.to(scores.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (v,) = ctx.saved_tensors
        g, total = gradient.double(), v.sum(-1, keepdim=True)
        common = torch.where(total > 0, (g * v).sum(-1, keepdim=True) / total, 0.0)
        return (v / ctx.tau * (g - common)).to(gradient.dtype), None, None
