"""Finds modules that compute something else than their class says: hooks, replaced methods, parametrised weights.

Such an oddity is kept as it is where a copy of the module computes the same, and refused where a copy would not.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from pruner.errors import OddModelError

_CAPTURING: Final = "transformers.utils.output_capturing"
"""Hugging Face's own hooks, which note what modules give and leave it as it is."""
Network = TypeVar("Network", bound=nn.Module)


def oddity(module: nn.Module) -> str | None:
    """Returns what is odd about a module itself, its submodules left aside; None when nothing is."""
    kind = type(module).__name__
    if module._forward_pre_hooks:
        return f"its {kind} has a forward pre-hook"
    if any(getattr(hook, "__module__", "") != _CAPTURING for hook in module._forward_hooks.values()):
        return f"its {kind} has a forward hook"
    if parametrize.is_parametrized(module):
        return f"its {kind.removeprefix('Parametrized')} has parametrised weights"
    replaced = [name for name, _ in _replaced_methods(module)]
    if replaced:
        return f"its {kind} has another {replaced[0]} than its class"
    return None


def first_oddity(module: nn.Module) -> str | None:
    """Returns the first thing that is odd about a module or a module in it; None when nothing is.

    Example:
        >>> from torch import nn
        >>> from pruner.algebra.oddities import first_oddity
        >>> network = nn.Sequential(nn.Linear(4, 4))
        >>> hook = network[0].register_forward_hook(lambda *_: None)
        >>> first_oddity(network)
        'its Linear has a forward hook'
    """
    return next((odd for one in module.modules() if (odd := oddity(one)) is not None), None)


def why_not_plain(module: nn.Module, what: str, *kinds: type[nn.Module]) -> str | None:
    """Returns why a module is no plain layer of one of these classes; None when it is one.

    Subclasses are refused: they may do something else with their weights.

    Args:
        module: The module in question.
        what: The layer in words, for the reason: "convolution", "linear layer".
        kinds: The classes that are plain, compared exactly.
    """
    odd = oddity(module)
    if odd is not None:
        return odd
    return None if type(module) in kinds else f"its {type(module).__name__} is no plain {what}"


def copied(model: Network) -> Network:
    """Returns a copy of `model` that computes the same with weights of its own.

    Raises:
        OddModelError: when a module cannot be copied so that the copy computes the same; the message names the module.
    """
    for name, module in model.named_modules():
        why, way_on = _why_not_copied(module)
        if why is not None:
            raise OddModelError(f"{_named(name, model)} cannot be copied: {why}; {way_on}")
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever an object that a network holds raises when it is copied
        reason = str(error).partition("\n")[0]
        raise OddModelError(
            f"this {type(model).__name__} cannot be copied ({type(error).__name__}: {reason}): take off what was put "
            "on its modules (hooks, handles, open files)"
        ) from error


def unwrapped(model: nn.Module) -> nn.Module:
    """Returns the network inside what runs it on many devices or compiles it: DataParallel, DistributedDataParallel,
    and what `torch.compile` returns.

    Example:
        >>> from torch import nn
        >>> unwrapped(nn.DataParallel(nn.Linear(2, 2)))
        Linear(in_features=2, out_features=2, bias=True)
    """
    inner = getattr(model, "_orig_mod", None)
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = model.module
    return model if not isinstance(inner, nn.Module) else unwrapped(inner)


def check_around(model: nn.Module, sites: Collection[str]) -> None:
    """Refuses a model where a module around the blocks is odd: such a module is not run when the blocks run one by one.

    Args:
        model: The opened network.
        sites: The names of the blocks, as module paths.

    Raises:
        OddModelError: when a module that holds one of the blocks is odd.
    """
    for name, module in model.named_modules():
        odd = oddity(module)
        if odd is not None and any(site.startswith(f"{name}.") or not name for site in sites):
            raise OddModelError(
                f"{_named(name, model)} would be another network when it is cut: {odd}, and blocks that are cut lie "
                "in it; take that off, or put it on a module inside"
            )


def _named(name: str, model: nn.Module) -> str:
    return f"{name} of {type(model).__name__}" if name else f"this {type(model).__name__}"


def _why_not_copied(module: nn.Module) -> tuple[str | None, str]:
    """Why a copy would not compute the same, or None; and what the user can do about it."""
    if getattr(module, "_compiled_call_impl", None) is not None:
        return "it is compiled", "open it first and compile what comes of it"
    computed = [name for name, value in vars(module).items() if isinstance(value, Tensor) and not value.is_leaf]
    if computed:
        return (
            f"its {computed[0]} was computed from other weights, as by weight_norm or prune of torch.nn.utils",
            "make it permanent first (remove_weight_norm, prune.remove)",
        )
    hooks = [("forward hook", hook) for hook in module._forward_hooks.values()]
    hooks += [("forward pre-hook", hook) for hook in module._forward_pre_hooks.values()]
    for what, function in [*hooks, *_replaced_methods(module)]:
        if any(isinstance(one, nn.Module | Tensor) for one in _held(function)):
            return (
                f"its {what} holds on to modules or weights, and a copy's would go on with those of the network here",
                "write it as a class of its own with its own forward",
            )
    return None, ""


def _replaced_methods(module: nn.Module) -> list[tuple[str, Callable[..., Any]]]:
    """The callables that were set on the module itself under the name of a method of its class."""
    return [
        (name, value)
        for name, value in vars(module).items()
        if callable(value) and inspect.isroutine(getattr(type(module), name, None))
    ]


def _held(function: Any) -> Iterator[Any]:
    """The objects that a function refers to and that are not copied with it: its closure, its defaults, its globals.
    The object that a method is bound to is copied with it."""
    if isinstance(function, functools.partial):
        yield from (*function.args, *function.keywords.values())
        yield from _held(function.func)
        return
    plain = getattr(function, "__func__", function)
    if not inspect.isfunction(plain):
        return
    held = inspect.getclosurevars(plain)
    for one in (*held.nonlocals.values(), *held.globals.values(), *(plain.__defaults__ or ())):
        yield one
        if inspect.ismethod(one):  # the forward that was there before
            yield one.__self__
