"""How each kind of layer is fitted: which features it has, and how its weights follow from the sums."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruner.fitting.fits import Fit
from pruner.fitting.least_squares import RIDGES, Solution, fitted
from pruner.fitting.rows import Rows, patches, values
from pruner.fitting.sums import Sums

_ROUNDS: Final = 8


@dataclass(frozen=True)
class Way:
    """How a layer that replaces a block is fitted.

    The targets of the fit are the block's output minus what `beside` gives.

    Attributes:
        choices: The choices that are fitted by the same features.
        features: How many features there are.
        rows: (the block's input, places in an image) -> the features as rows (B * P, features).
        beside: The block's input -> what the block adds the layer's output to; None for nothing.
        solved: (sums to fit by, sums of the held-out rows, groups of targets) -> the fits of each choice, one for each
            group.
    """

    choices: tuple[str, ...]
    features: int
    rows: Callable[[Tensor, Tensor], Tensor]
    beside: Callable[[Tensor], Tensor | None]
    solved: Callable[[Sums, Sums, Sequence[slice]], Mapping[str, list[Fit]]]


Solved = Callable[[Sums, Sums, Sequence[slice]], list[Fit]]


def way_of(choice: str, layer: Any) -> Way:
    """How the layer of a choice is fitted.

    The fit is to what the block adds to its input, or to the whole output where its shape is not that of the input.

    Args:
        choice: The name of the choice.
        layer: The layer itself: a linear, a convolution, or x + pointwise(depthwise(x)).
    """
    features, rows, solved = _parts_of(layer)
    changes_shape = isinstance(layer, nn.Conv2d) and _changes_shape(layer)
    return Way(
        (choice,),
        features,
        rows,
        lambda x: None if changes_shape else x,
        lambda seen, apart, groups: {choice: solved(seen, apart, groups)},
    )


def _parts_of(layer: Any) -> tuple[int, Rows, Solved]:
    """The number of features of a layer, what makes rows of them, and what solves for its weights."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, values, _linear
    if isinstance(layer, nn.Conv2d):
        side, stride, added = layer.kernel_size[0], layer.stride[0], not _changes_shape(layer)
        rows = values if side == stride == 1 else lambda x, places: patches(x, places, side, stride)
        return (
            layer.in_channels * side**2,
            rows,
            lambda seen, apart, groups: [
                _convolution(one, layer.weight.shape, added) for one in fitted(seen, apart, groups)
            ],
        )
    depthwise, pointwise = layer.branch
    channels = pointwise.in_channels
    if depthwise.bias is None:
        side = depthwise.kernel_size[0]
        return (
            channels * side**2,
            lambda x, places: patches(x, places, side),
            lambda seen, apart, groups: [_separable(seen, apart, group, side) for group in groups],
        )
    return channels, lambda x, places: values(depthwise(x), places), _behind_its_depthwise


def _linear(seen: Sums, apart: Sums, groups: Sequence[slice]) -> list[Fit]:
    found = fitted(seen, apart, groups)
    return [
        Fit({"weight": one.weight + torch.eye(len(one.bias)).to(one.weight), "bias": one.bias}, one.ridge, one.error)
        for one in found
    ]


def _changes_shape(conv: nn.Conv2d) -> bool:
    return conv.in_channels != conv.out_channels or conv.stride != (1, 1)


def _convolution(solution: Solution, shape: torch.Size, added: bool) -> Fit:
    """The fit of a convolution. What is `added` to the input gets the identity in the middle tap of its kernel."""
    kernel = solution.weight.reshape(shape).clone()
    if added:
        kernel[:, :, shape[2] // 2, shape[3] // 2] += torch.eye(len(kernel)).to(kernel)
    return Fit({"weight": kernel, "bias": solution.bias}, solution.ridge, solution.error)


def _behind_its_depthwise(seen: Sums, apart: Sums, groups: Sequence[slice]) -> list[Fit]:
    """Fits of the pointwise convolution alone: the depthwise one is the block's own."""
    return [
        Fit({"branch.1.weight": one.weight[:, :, None, None], "branch.1.bias": one.bias}, one.ridge, one.error)
        for one in fitted(seen, apart, groups)
    ]


def _separable(seen: Sums, apart: Sums, group: slice, side: int) -> Fit:
    """Fits the depthwise and the pointwise convolution in turn, from the sums of the dense convolution.

    With one of the two fixed, the other is a least-squares fit. The first depthwise kernel is that of the product
    nearest to the dense kernel, channel by channel (its first singular vectors). The round with the smallest error on
    the held-out rows is taken.
    """
    sums, taps = seen.of_targets(group), side**2
    (dense,) = fitted(seen, apart, [group])
    channels = sums.features // taps
    kernels = dense.weight.reshape(-1, channels, taps).transpose(0, 1)  # (C, O, taps)
    depthwise = torch.linalg.svd(kernels, full_matrices=False).Vh[:, 0]
    best: Fit | None = None
    for _ in range(_ROUNDS):
        narrow = [_behind(one.of_targets(group), depthwise) for one in (seen, apart)]
        (pointwise,) = fitted(narrow[0], narrow[1], [slice(None)])
        if best is None or pointwise.error < best.error:
            best = Fit(
                {
                    "branch.0.weight": depthwise.reshape(channels, 1, side, side).clone(),
                    "branch.1.weight": pointwise.weight[:, :, None, None],
                    "branch.1.bias": pointwise.bias,
                },
                pointwise.ridge,
                pointwise.error,
            )
        depthwise = _depthwise(sums, pointwise, taps)
    assert best is not None
    return best


def _behind(sums: Sums, depthwise: Tensor) -> Sums:
    """The sums of the features that a depthwise kernel (C, taps) computes from the patches."""
    channels, taps = depthwise.shape
    patches_only = sums.inner[:-1, :-1].reshape(channels, taps, channels, taps)
    inner = torch.einsum("ct,ctds,ds->cd", depthwise, patches_only, depthwise)
    edge = (sums.inner[-1, :-1].reshape(channels, taps) * depthwise).sum(1)
    cross = (sums.cross[:-1].reshape(channels, taps, -1) * depthwise[:, :, None]).sum(1)
    return Sums(
        torch.cat([torch.cat([inner, edge[:, None]], 1), torch.cat([edge, sums.inner[-1, -1:]])[None]]),
        torch.cat([cross, sums.cross[-1:]]),
        sums.square,
        sums.rows,
    )


def _depthwise(sums: Sums, pointwise: Solution, taps: int) -> Tensor:
    """The best depthwise kernel (C, taps) before a fixed pointwise convolution P with bias b.

    It is the D that minimises sum |P (D patches) + b - y|^2. The normal matrix is the patches' sums times P'P, channel
    pair by channel pair.
    """
    weight = pointwise.weight
    channels = weight.shape[1]
    inner = (weight.T @ weight).repeat_interleave(taps, 0).repeat_interleave(taps, 1) * sums.inner[:-1, :-1]
    centred = sums.cross[:-1] - torch.outer(sums.inner[:-1, -1], pointwise.bias)
    target = (centred.reshape(channels, taps, -1) * weight.T[:, None, :]).sum(2).flatten()
    ridge = max(pointwise.ridge, RIDGES[0]) * inner.diagonal().mean()
    inner.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(inner)
    if failed:
        raise ArithmeticError("the sums of a separable fit are not those of any rows")
    return torch.cholesky_solve(target[:, None], factor)[:, 0].reshape(channels, taps)
