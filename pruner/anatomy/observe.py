"""What the modules of a network are called with while it runs, and the shapes that they take and give."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruner.algebra.modules import only_training

_UNKNOWN: Final = object()
_PLAIN: Final = (bool, int, float, str, torch.dtype, torch.device)


class _Flowing:
    """Stands for a tensor that depends on the images, or on weights."""

    def __repr__(self) -> str:
        return "FLOWING"


FLOWING: Final = _Flowing()
"""Stands, in a `Call`, for a tensor that depends on the images or on weights."""


@dataclass(frozen=True)
class Call:
    """What a module is called with. Tensors that depend on the images, or on weights, are `FLOWING`.

    Attributes:
        args: The arguments by place.
        named: The arguments by name.
    """

    args: tuple[Any, ...] = (FLOWING,)
    named: dict[str, Any] = field(default_factory=dict)

    @property
    def is_of_one_tensor(self) -> bool:
        """Whether the module is given one tensor and nothing else."""
        return len(self.args) == 1 and self.args[0] is FLOWING and not self.named


@dataclass(frozen=True)
class Seen:
    """What was seen of a module that is run once.

    Attributes:
        call: What it is called with.
        is_square: Whether it gives one tensor, of the shape of its first argument.
    """

    call: Call
    is_square: bool


Given = tuple[tuple[Any, ...], Mapping[str, Any]]
"""What a module was called with, by place and by name, with its tensors."""


def observed(network: nn.Module, images: Tensor) -> dict[str, Seen]:
    """Returns what every module is called with, where that has the same structure whatever the images.

    Args:
        network: The network, which runs in evaluation mode, once on one image and once on two.
        images: One image (1, C, H, W).

    Returns:
        Module path -> what was seen. A module that is called more than once or never, or with what is neither a tensor
        nor a plain value, has no entry.

    Example:
        >>> from torch import nn
        >>> observed(nn.Sequential(nn.Linear(4, 4)), torch.ones(1, 4))
        {'0': Seen(call=Call(args=(FLOWING,), named={}), is_square=True)}
    """
    first = _calls(network, images)
    second = _calls(network, torch.cat([images.flip(-1), 0.5 * images]))
    found: dict[str, Seen] = {}
    for name, runs in first.items():
        again = second.get(name, [])
        if not name or len(runs) != 1 or len(again) != 1:
            continue
        args, named = _merged(runs[0].args, again[0].args), _merged(runs[0].named, again[0].named)
        if args is not _UNKNOWN and named is not _UNKNOWN:
            found[name] = Seen(Call(args, named), runs[0].is_square and again[0].is_square)
    return found


def given_to(network: nn.Module, path: str, images: Tensor) -> Given:
    """Returns what the module at `path` is first called with while the network runs, which then stops.

    Example:
        >>> from torch import nn
        >>> given_to(nn.Sequential(nn.ReLU(), nn.Identity()), "1", torch.tensor([[-1.0, 2.0]]))
        ((tensor([[0., 2.]]),), {})
    """

    def stop(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        raise _Reached(_copied(args), _copied(named))

    hook = network.get_submodule(path).register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with only_training(network, []), torch.no_grad():
            network(images)
    except _Reached as reached:
        return reached.given
    finally:
        hook.remove()
    raise AssertionError(f"{path} was seen to run")


def entering(call: Call, given: Given) -> list[Tensor]:
    """Returns the tensors of a call that are `FLOWING`, in order."""
    return [tensor for one, value in ((call.args, given[0]), (call.named, given[1])) for tensor in _flowing(one, value)]


def _flowing(call: Any, given: Any) -> Iterator[Tensor]:
    if call is FLOWING:
        yield given
    elif isinstance(call, dict):
        for name in call:
            yield from _flowing(call[name], given[name])
    elif type(call) in (list, tuple):
        for one, value in zip(call, given, strict=True):
            yield from _flowing(one, value)


class _Reached(BaseException):
    """The module is about to run. No network that catches exceptions of its own catches this one."""

    def __init__(self, args: Any, named: Any) -> None:
        super().__init__()
        self.given: Given = (args, named)


def _calls(network: nn.Module, images: Tensor) -> dict[str, list[Any]]:
    """Module path -> its calls, with their tensors. With gradients, so that tensors which depend on weights say so."""
    found: dict[str, list[Any]] = {}
    learns = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        with only_training(network, []), ExitStack() as hooks, torch.enable_grad():
            for parameter, _ in learns:
                parameter.requires_grad_(parameter.is_floating_point())
            for name, module in network.named_modules():
                before, after = _noting(found.setdefault(name, []))
                hooks.enter_context(module.register_forward_pre_hook(before, with_kwargs=True))
                hooks.enter_context(module.register_forward_hook(after, with_kwargs=True))
            network(images)
    finally:
        for parameter, learned in learns:
            parameter.requires_grad_(learned)
    return found


def _noting(calls: list[Any]) -> tuple[Callable[..., None], Callable[..., None]]:
    """Hooks that note a call before a module runs, which may write to lists that it is given, and its shape behind."""

    def before(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        calls.append(_Run(_copied(args), _copied(named)))

    def after(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any], given: Any) -> None:
        entering = next(iter((*args, *named.values())), None)
        if isinstance(entering, Tensor) and isinstance(given, Tensor):
            calls[-1].is_square = entering.shape == given.shape

    return before, after


@dataclass
class _Run:
    args: Any
    named: Any
    is_square: bool = False


def _copied(value: Any) -> Any:
    """The same tensors and values in new lists."""
    if isinstance(value, dict):
        return {name: _copied(one) for name, one in value.items()}
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value


def _merged(one: Any, other: Any) -> Any:
    """What two calls have in common, with `FLOWING` for the tensors that differ or learn; `_UNKNOWN` where they differ
    otherwise, or hold what is neither a tensor nor a plain value."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        alike = not one.requires_grad and one.shape == other.shape
        same = alike and (one.is_meta or torch.equal(one, other))  # without values, shapes have to do
        return one if same else FLOWING
    if type(one) is not type(other):
        return _UNKNOWN
    if isinstance(one, dict) and one.keys() == other.keys():
        merged = {name: _merged(value, other[name]) for name, value in one.items()}
        return _UNKNOWN if any(value is _UNKNOWN for value in merged.values()) else merged
    if isinstance(one, (tuple, list)) and len(one) == len(other):
        entries = [_merged(*both) for both in zip(one, other, strict=True)]
        return _UNKNOWN if any(value is _UNKNOWN for value in entries) else type(one)(entries)
    return one if one is None or (isinstance(one, _PLAIN) and one == other) else _UNKNOWN
