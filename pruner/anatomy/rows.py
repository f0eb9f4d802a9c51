"""Regions that may be left out although no skip runs beside them: what gives the shape that it takes."""

from collections.abc import Callable, Collection

from torch import fx, nn

from pruner.anatomy.graph import activation_of
from pruner.anatomy.regions import Region


def mixes(module: nn.Module) -> bool:
    """Whether there is a linear layer or a convolution in a module that mixes the channels, as depthwise ones do not.

    Example:
        >>> from torch import nn
        >>> mixes(nn.Sequential(nn.Conv2d(8, 8, 1))), mixes(nn.Conv2d(8, 8, 3, groups=8))
        (True, False)
    """
    return any(
        isinstance(one, nn.Linear) or (isinstance(one, nn.Conv2d) and one.groups < one.in_channels)
        for one in module.modules()
    )


def rows_of(
    graph: fx.Graph, module: nn.Module, outside: Collection[fx.Node], is_square: Callable[[str], bool]
) -> list[Region]:
    """Returns the layers in a graph that give the shape they take, each with the norm and the activation behind it.

    Args:
        graph: What a module computes, from `graph_of`.
        module: The module, in which the targets of the graph's nodes are found.
        outside: The nodes that stand in regions already.
        is_square: Whether the submodule of that path gives the shape that it takes.
    """
    found: list[Region] = []
    taken = set(outside)
    for node in graph.nodes:
        if node in taken or node.op != "call_module" or len(node.all_input_nodes) != 1:
            continue
        layer = module.get_submodule(str(node.target))
        if not isinstance(layer, (nn.Conv2d, nn.Linear)) or not mixes(layer) or not is_square(str(node.target)):
            continue
        nodes = [node]
        norm = _next(node)
        if norm is not None and norm.op == "call_module" and _is_norm(module.get_submodule(str(norm.target))):
            nodes.append(norm)
        branch = nodes[-1]
        act = _next(branch)
        end = act if act is not None and activation_of(act, module) is not None else None
        if end is None and isinstance(layer, nn.Linear):
            continue  # queries, keys and values: to leave one of them out is no cut in depth
        nodes += [] if end is None else [end]
        if taken.isdisjoint(nodes):
            found.append(Region(node.all_input_nodes[0], nodes[-1], branch, None, end, tuple(nodes)))
            taken.update(nodes)
    return found


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm))


def _next(node: fx.Node) -> fx.Node | None:
    """The node that takes what a node gives, where it is the only one and takes nothing else."""
    (user,) = node.users if len(node.users) == 1 else (None,)
    return user if user is not None and user.op != "output" and user.all_input_nodes == [node] else None
