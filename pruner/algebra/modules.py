"""Modules of torch put together for merged networks, which hold no class of Depthfinder."""

import copy
import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import fx, nn

from pruner.algebra import affine
from pruner.algebra.oddities import oddity


def residual(branch: nn.Module, shortcut: nn.Module | None = None) -> fx.GraphModule:
    """Returns shortcut(x) + branch(x) as a graph module; x + branch(x) without a shortcut.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from pruner.algebra.modules import residual
        >>> residual(nn.ReLU())(torch.tensor([-1.0, 2.0]))
        tensor([-1.,  4.])
    """
    graph = fx.Graph()
    x = graph.placeholder("x")
    beside = x if shortcut is None else graph.call_module("shortcut", (x,))
    graph.output(graph.call_function(operator.add, (beside, graph.call_module("branch", (x,)))))
    return fx.GraphModule({"branch": branch} | ({} if shortcut is None else {"shortcut": shortcut}), graph)


def in_a_row(modules: Sequence[nn.Module]) -> nn.Module:
    """Returns the modules as one that runs them in turn; the module itself where there is only one."""
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def without_identities(**modules: nn.Module) -> nn.Sequential:
    """Returns the named modules in a row, without those that do nothing."""
    return nn.Sequential(OrderedDict((k, v) for k, v in modules.items() if not does_nothing(v)))


def does_nothing(module: nn.Module | None) -> bool:
    """Whether `module` is None or a plain identity."""
    return module is None or (type(module) is nn.Identity and oddity(module) is None)


@contextmanager
def only_training(network: nn.Module, norms: Sequence[nn.Module]) -> Iterator[None]:
    """Puts the network into evaluation mode and `norms` into training mode, and restores all modes at the end."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    for norm in norms:
        norm.train()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


BatchNormPair = tuple[nn.Conv2d, nn.BatchNorm2d]
"""A convolution, and the BatchNorm that follows it directly."""


@torch.no_grad()
def fold_batch_norms(network: nn.Module, pairs: Iterable[BatchNormPair]) -> nn.Module:
    """Folds BatchNorms into the convolutions before them, in place, and returns `network`.

    An identity takes the place of each BatchNorm, or the activation that came with it (timm's BatchNormAct2d).

    Args:
        network: The network that holds the modules of the pairs.
        pairs: The convolutions, each with the BatchNorm that follows it directly.

    Example:
        >>> from torch import nn
        >>> from pruner.algebra.modules import fold_batch_norms
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).eval()
        >>> list(fold_batch_norms(network, [(network[0], network[1])]))
        [Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1)), Identity()]
    """
    left: dict[nn.Module, nn.Module] = {}
    for conv, norm in pairs:
        mapped = affine.of_batch_norm(norm)
        scale = mapped.kernel.flatten()
        bias = mapped.bias if conv.bias is None else mapped.bias + scale * conv.bias.double()
        conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=conv.weight.requires_grad)
        conv.weight.copy_(conv.weight.double() * scale[:, None, None, None])
        left[norm] = getattr(norm, "act", nn.Identity())
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child in left:
                setattr(parent, name, left[child])
    return network


def folded_copy(module: nn.Module, pairs: Sequence[BatchNormPair]) -> nn.Module:
    """Returns a copy of `module` in evaluation mode, with those of the pairs folded that stand in it."""
    within = set(module.modules())
    own, pairs = copy.deepcopy((module, [pair for pair in pairs if within.issuperset(pair)]))
    return fold_batch_norms(own, pairs).eval()


def folded_on(first: nn.Module, after: nn.Module) -> nn.Module | None:
    """Returns two layers in a row as one layer.

    Returns None where one layer would not be exact, or would take more multiplications than the two together.
    """
    if not (type(first) is type(after) and type(first) in (nn.Linear, nn.Conv2d)):
        return None
    assert isinstance(first, (nn.Linear, nn.Conv2d))
    assert isinstance(after, (nn.Linear, nn.Conv2d))
    if isinstance(after, nn.Conv2d) and (after.kernel_size, after.padding) != ((1, 1), (0, 0)):
        return None  # it pads, and the bias of the first would leak into what it pads
    near, far = affine.of_layer(first), affine.of_layer(after)
    if not far.is_pointwise:
        return None
    both = near.then(far)
    if both.multiplications > near.multiplications + far.multiplications:
        return None
    dtype = first.weight.dtype
    return both.linear(dtype) if isinstance(first, nn.Linear) else both.conv(dtype)
