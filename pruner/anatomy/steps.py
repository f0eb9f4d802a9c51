"""What a branch computes, step by step, as far as each of its layers is known; else as one opaque step."""

from torch import fx, nn

from pruner._timm import DropPath
from pruner.algebra.modules import does_nothing
from pruner.algebra.oddities import oddity
from pruner.algebra.steps import Activation, Linear, Noise, Opaque, Step, SwitchedNorm
from pruner.anatomy.graph import activation_of, graph_of
from pruner.errors import UnknownModelError
from pruner.families.parts import conv_step, norm_steps, twin

_NORMS_OF_IMAGES = (nn.BatchNorm2d, nn.GroupNorm)


def steps_of_row(first: fx.Node, last: fx.Node, module: nn.Module, norms: list[nn.Module]) -> tuple[Step, ...] | None:
    """Returns the steps of the nodes from behind `first` to `last`, which have to be a row.

    Args:
        first: The node whose tensor enters.
        last: The node whose tensor leaves; `first` itself for an empty row.
        module: The module that the graph is of.
        norms: Takes the new BatchNorms that LayerNorms and GroupNorms switch to.

    Returns:
        The steps; None where the nodes are no row of layers that are known.
    """
    row: list[fx.Node] = []
    node = last
    while node is not first:
        if len(node.all_input_nodes) != 1 or node.op == "get_attr":
            return None
        row.insert(0, node)
        node = node.all_input_nodes[0]
    found: list[Step] = []
    for node in row:
        act = activation_of(node, module)
        if act is not None:
            found.append(Activation(act))
            continue
        steps = _steps_of(module.get_submodule(str(node.target)), norms) if node.op == "call_module" else None
        if steps is None:
            return None
        found += steps
    return tuple(found)


def opaque(module: nn.Module, name: str) -> Opaque:
    """Returns a whole branch as one step, which nothing folds.

    Args:
        module: What the branch computes.
        name: The class of the branch's largest module.
    """
    return Opaque(module, f"what its {name} computes is not a row of layers that fold", name)


def _steps_of(module: nn.Module, norms: list[nn.Module]) -> tuple[Step, ...] | None:
    """The steps of a module; None where it is no known layer and no row of such."""
    if does_nothing(module) or (type(module) is nn.Sequential and not len(module)):
        return ()
    if isinstance(module, nn.Conv2d):
        return (conv_step(module),)
    if type(module) is nn.Linear:
        return (Linear(module),)
    if isinstance(module, _NORMS_OF_IMAGES):
        return norm_steps(module, norms)
    if type(module) is nn.LayerNorm and module.weight is not None and len(module.normalized_shape) == 1:
        switched = twin(module, nn.BatchNorm1d)
        norms.append(switched)
        return (SwitchedNorm(module, switched),)
    if isinstance(module, (nn.Dropout, DropPath)) or type(module).__name__ == "StochasticDepth":
        return (Noise(module),)
    if oddity(module) is not None or not any(True for _ in module.children()):
        return None
    try:
        graph = graph_of(module)
    except UnknownModelError:
        return None
    first = next(node for node in graph.nodes if node.op == "placeholder")
    last = next(node for node in graph.nodes if node.op == "output").args[0]
    return steps_of_row(first, last, module, norms) if isinstance(last, fx.Node) else None
