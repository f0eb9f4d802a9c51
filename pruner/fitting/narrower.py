"""Narrower blocks: which inner channels or heads stay, and the last layer fitted anew to those that do."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruner.algebra.steps import BatchNorm
from pruner.choices.hidden import Hidden
from pruner.choices.site import Site
from pruner.fitting.fits import Fit
from pruner.fitting.layers import Way
from pruner.fitting.least_squares import Solution, fitted
from pruner.fitting.rows import patches, values
from pruner.fitting.sums import Sums

_RIDGE: Final = 1e-4
_AT_ONCE: Final = 64
"""In each round one in 64 of the remaining channels is removed, and at least one."""


def narrower_way(site: Site, choices: Sequence[str]) -> Way:
    """How a block that keeps a share of its inner width is fitted, for all shares in one pass.

    The features are all that the block's last layer reads. The targets are what its branch computes.

    Args:
        site: The block, which has an inner width.
        choices: The choices that keep a share of it, such as `narrow-50`.
    """
    hidden = site.hidden
    assert hidden is not None, "only a block with an inner width offers such choices"

    def solved(seen: Sums, apart: Sums, groups: Sequence[slice]) -> dict[str, list[Fit]]:
        (group,) = groups
        counts = {choice: hidden.kept_count(choice) for choice in choices}
        order = nested_order(seen.of_targets(group), hidden.taps, min(counts.values()))
        return {c: [_fit(site, hidden, order[:count].sort().values, seen, apart)] for c, count in counts.items()}

    return Way(
        tuple(choices), hidden.features, lambda x, places: _read(site.kept, hidden, x, places), site.beside, solved
    )


def nested_order(sums: Sums, taps: int, fewest: int) -> Tensor:
    """Ranks the units (inner channels, or heads) of a block by backward elimination.

    The unit that is removed next is the one that the least-squares fit loses least by when all others are refitted.
    The loss is w' B^-1 w, where w are the unit's weights in the present fit and B is its block of the inverse of the
    normal matrix (Optimal Brain Surgeon, Hassibi and Stork, 1993, equation 5, for a block of weights and many outputs).
    The inverse is updated, not computed anew, so the whole elimination costs little more than one solution.

    Args:
        sums: The sums over rows of `taps` features for each unit.
        taps: How many features a unit has; they lie side by side.
        fewest: How many units remain when the elimination stops.

    Returns:
        (units,) the numbers of all units, from the one that counts most to the one that was removed first.
    """
    total = sums.inner[-1, -1]
    mean_x, mean_y = sums.inner[-1, :-1] / total, sums.cross[-1] / total
    normal = sums.inner[:-1, :-1] - total * torch.outer(mean_x, mean_x)
    ridge = _RIDGE * normal.diagonal().clamp(min=0).mean()
    normal.diagonal().add_(torch.where(ridge > 0, ridge, torch.ones_like(ridge)))
    inverse = torch.linalg.inv(normal)
    weight = (sums.cross[:-1] - total * torch.outer(mean_x, mean_y)).T @ inverse  # (targets, features)
    left = torch.arange(len(normal) // taps, device=normal.device)
    gone: list[Tensor] = []
    while True:
        by_channel = weight.reshape(len(weight), -1, taps).permute(1, 2, 0)
        blocks = inverse.reshape(len(left), taps, len(left), taps).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
        losses = (by_channel * torch.linalg.solve(blocks, by_channel)).sum((1, 2))
        ranked = losses.argsort(stable=True)
        count = min(max(1, len(left) // _AT_ONCE), len(left) - fewest)
        if count <= 0:
            return torch.cat([left[ranked].flip(0), *reversed(gone)])
        gone.append(left[ranked[:count]].flip(0))
        lost, stays = (_features_of(some, taps) for some in (ranked[:count], ranked[count:].sort().values))
        shares = torch.linalg.solve(inverse[lost][:, lost], inverse[lost][:, stays])
        weight = weight[:, stays] - weight[:, lost] @ shares
        inverse = inverse[stays][:, stays] - inverse[stays][:, lost] @ shares
        left = left[ranked[count:].sort().values]


def _features_of(channels: Tensor, taps: int) -> Tensor:
    return (channels[:, None] * taps + torch.arange(taps, device=channels.device)).flatten()


def _read(kept: nn.Module, hidden: Hidden, x: Tensor, places: Tensor) -> Tensor:
    """The features that the block's last layer reads at the given places, (B * P, features)."""
    read: list[Tensor] = []
    hook = hidden.reader.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0]))
    try:
        kept(x)
    finally:
        hook.remove()
    z = read[-1]
    if isinstance(hidden.reader, nn.Linear) and z.dim() == 4:  # over the channels of images
        z = z.movedim(-1, 1)
    return values(z, places) if hidden.side == 1 else patches(z, places, hidden.side)


def _fit(site: Site, hidden: Hidden, units: Tensor, seen: Sums, apart: Sums) -> Fit:
    places = _features_of(units, hidden.taps)
    some = [sums.of_features(places) for sums in (seen, apart)]
    (solution,) = fitted(some[0], some[1], [slice(None)])
    layer, _ = site.narrowed(units)
    names = {id(module): name for name, module in site.kept.named_modules()}
    weights: dict[str, Tensor] = {name: tensor.detach() for name, tensor in layer.state_dict().items()}
    reader = hidden.reader_name(site.kept)
    weights[f"{reader}.weight"] = solution.weight.reshape(weights[f"{reader}.weight"].shape)
    norms = [names[id(step.norm)] for step in hidden.behind if isinstance(step, BatchNorm)]
    if f"{reader}.bias" in weights:
        weights[f"{reader}.bias"] = torch.zeros_like(solution.bias) if norms else solution.bias
    if norms:
        norm: Any = layer.get_submodule(norms[0])
        weights |= {f"{norms[0]}.{name}": tensor for name, tensor in _as_it_is(norm.eps, solution, *some).items()}
    return Fit(weights, solution.ridge, solution.error)


def _as_it_is(eps: float, solution: Solution, seen: Sums, apart: Sums) -> Mapping[str, Tensor]:
    """The parameters and statistics of a BatchNorm behind the fitted matrix.

    In evaluation the matrix and the BatchNorm compute the solution together. The running statistics are those of the
    images, so that they fit what training finds.
    """
    sums = seen + apart
    mean_x = sums.inner[-1, :-1] / sums.inner[-1, -1]
    covariance = sums.inner[:-1, :-1] / sums.inner[-1, -1] - torch.outer(mean_x, mean_x)
    mean = solution.weight @ mean_x
    variance = ((solution.weight @ covariance) * solution.weight).sum(1).clamp(min=0)
    return {
        "running_mean": mean,
        "running_var": variance,
        "weight": (variance + eps).sqrt(),
        "bias": solution.bias + mean,
    }
