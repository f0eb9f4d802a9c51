"""What the modules of a network are called with while it runs."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from pruner.algebra.modules import only_training

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of a module beside its first: by place, and by name."""


def observed(network: nn.Module, images: Tensor) -> dict[str, Call]:
    """Returns what every module is given beside its first argument, where that is the same whatever the images.

    Such are numbers, sizes and None, and tensors that depend neither on the images nor on any weight: a table of
    positions, a mask.

    Args:
        network: The network, which runs in evaluation mode.
        images: One image (1, C, H, W).

    Returns:
        Module path -> the further arguments. A module that is given anything else there, or is called more than once or
        never, has no entry.

    Example:
        >>> from torch import nn
        >>> observed(nn.Sequential(nn.Linear(4, 4)), torch.ones(1, 4))
        {'0': ((), {})}
    """
    first = _calls(network, images)
    second = _calls(network, torch.cat([images.flip(-1), 0.5 * images]))
    return {
        name: calls[0]
        for name, calls in first.items()
        if name and len(calls) == 1 and len(second.get(name, ())) == 1 and _is_same(calls[0], second[name][0])
    }


def _calls(network: nn.Module, images: Tensor) -> dict[str, list[Call]]:
    """With gradients, so that tensors which depend on weights say so."""
    found: dict[str, list[Call]] = {}
    learns = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        with only_training(network, []), ExitStack() as hooks, torch.enable_grad():
            for parameter, _ in learns:
                parameter.requires_grad_(parameter.is_floating_point())
            for name, module in network.named_modules():

                def note(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], name: str = name) -> None:
                    found.setdefault(name, []).append((given[1:], dict(named)))

                hooks.enter_context(module.register_forward_pre_hook(note, with_kwargs=True))
            network(images)
    finally:
        for parameter, learned in learns:
            parameter.requires_grad_(learned)
    return found


def _is_same(one: Any, other: Any) -> bool:
    """Whether both are the same plain value, or tensors of the same numbers that depend on no weight."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        alike = not one.requires_grad and one.shape == other.shape
        return alike and (one.is_meta or torch.equal(one, other))  # without values, shapes have to do
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(value, other[name]) for name, value in one.items())
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(map(_is_same, one, other))
    plain = one is None or isinstance(one, (bool, int, float, str))
    return plain and type(one) is type(other) and bool(one == other)
