"""Modules of torch put together: what a merged network is made of, with no class of ours in it."""

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
    """shortcut(x) + branch(x), or x + branch(x), as a graph."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    beside = x if shortcut is None else graph.call_module("shortcut", (x,))
    graph.output(graph.call_function(operator.add, (beside, graph.call_module("branch", (x,)))))
    return fx.GraphModule({"branch": branch} | ({} if shortcut is None else {"shortcut": shortcut}), graph)


def in_a_row(modules: Sequence[nn.Module]) -> nn.Module:
    """The modules one after another; the one itself where there is but one."""
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def without_identities(**modules: nn.Module) -> nn.Sequential:
    """The modules one after another, leaving out those that do nothing."""
    return nn.Sequential(OrderedDict((k, v) for k, v in modules.items() if not does_nothing(v)))


def does_nothing(module: nn.Module | None) -> bool:
    """Whether there is no module, or a plain identity."""
    return module is None or (type(module) is nn.Identity and oddity(module) is None)


@contextmanager
def only_training(network: nn.Module, norms: Sequence[nn.Module]) -> Iterator[None]:
    """The network in evaluation but for `norms`."""
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

    What stands in a BatchNorm's place is the activation that came with it (timm's BatchNormAct2d), or nothing.
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
    """`module` with weights of its own, and with those of the pairs folded that stand in it; in evaluation mode."""
    within = set(module.modules())
    own, pairs = copy.deepcopy((module, [pair for pair in pairs if within.issuperset(pair)]))
    return fold_batch_norms(own, pairs).eval()


def folded_on(first: nn.Module, after: nn.Module) -> nn.Module | None:
    """Two layers in a row as one; None where that is not exact, or takes more multiplications than both together."""
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
