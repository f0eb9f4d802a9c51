"""What one forward pass of a module computes, as a graph: traced by torch.fx, with chosen modules as single nodes."""

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import fx, nn
from torch.nn import functional

from pruner.algebra.modules import only_training
from pruner.errors import UnknownModelError

_FUNCTIONS: Final[dict[Any, Callable[[], nn.Module]]] = {
    torch.relu: nn.ReLU,
    functional.relu: nn.ReLU,
    functional.gelu: nn.GELU,
    functional.silu: nn.SiLU,
    functional.hardswish: nn.Hardswish,
    functional.relu6: nn.ReLU6,
}
# Where activations come from, and the classes there that mix one place with others or change the shape.
_FROM: Final = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")
_NO_ACTIVATIONS: Final = (nn.Softmax, nn.LogSoftmax, nn.Softmax2d, nn.Softmin, nn.MultiheadAttention, nn.GLU, nn.RReLU)
_ADDS: Final = (operator.add, operator.iadd, torch.add)
_ON_SIZES: Final = (operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, operator.getitem)


class _Tracer(fx.Tracer):
    def __init__(self, is_leaf: Callable[[str], bool], given: Mapping[str, Any]) -> None:
        super().__init__()
        self._is_leaf, self._given = is_leaf, given

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """Returns the forward pass as a function of its first argument, and a stand-in for that."""
        _, first, *_ = inspect.signature(root_fn).parameters
        entering = self.create_proxy("placeholder", first, (), {})
        return lambda root, x: root_fn(root, x, **self._given), [self.root, entering]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Returns whether the module is a single node of the graph."""
        return self._is_leaf(module_qualified_name)


def graph_of(
    module: nn.Module, is_leaf: Callable[[str], bool] = lambda _: True, given: Mapping[str, Any] | None = None
) -> fx.Graph:
    """Returns what `module` computes of its first argument in evaluation mode.

    Args:
        module: The module, whose modes are what they were afterwards.
        is_leaf: Whether the submodule of that path is to be one node, or traced itself.
        given: Argument -> the value that it has beside the first; the others are left at their defaults.

    Raises:
        UnknownModelError: when it cannot be traced, or goes by another tensor than its first argument.

    Example:
        >>> from torch import nn
        >>> print([node.name for node in graph_of(nn.Sequential(nn.Linear(4, 4), nn.ReLU())).nodes])
        ['input_1', '_0', '_1', 'output']
    """
    with only_training(module, []):
        return _traced(module, is_leaf, given or {})


def is_alike_in_training(module: nn.Module, graph: fx.Graph, given: Mapping[str, Any] | None = None) -> bool:
    """Whether a module's own code computes in training what a graph from `graph_of` says, its submodules left aside."""
    with only_training(module, list(module.modules())):
        try:
            return str(_traced(module, lambda _: True, given or {})) == str(graph)
        except UnknownModelError:
            return False


def _traced(module: nn.Module, is_leaf: Callable[[str], bool], given: Mapping[str, Any]) -> fx.Graph:
    name = type(module).__name__
    parameters = list(inspect.signature(module.forward).parameters.values())
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    if not parameters or named[:1] != parameters[:1]:
        raise UnknownModelError(f"a {name} takes no arguments by name")
    if any(one.default is one.empty and one.name not in given for one in named[1:]):
        raise UnknownModelError(f"a {name} takes {len(named)} arguments")
    try:
        graph = _Tracer(is_leaf, given).trace(module)
    except Exception as error:  # whatever code raises that is run on stand-ins for tensors
        reason = str(error).partition("\n")[0]
        raise UnknownModelError(f"the forward of {name} cannot be traced: {reason}") from error
    return _without_checks(graph)


def _without_checks(graph: fx.Graph) -> fx.Graph:
    """The graph without assertions, and without what only they need."""
    for node in reversed(graph.nodes):
        if node.op == "call_function" and getattr(node.target, "__name__", "") == "_assert":
            graph.erase_node(node)
    graph.eliminate_dead_code(is_kept)
    return graph


def is_kept(node: fx.Node) -> bool:
    """Whether a node stays in a graph although nothing uses it: what enters and what leaves."""
    return node.op in ("placeholder", "output")


def is_sum(node: Any) -> bool:
    """Whether a node adds two tensors, one of which may be the same for all images."""
    if not isinstance(node, fx.Node) or len(node.args) != 2 or node.kwargs:
        return False
    adds = node.op == "call_function" and node.target in _ADDS
    adds = adds or (node.op == "call_method" and node.target in ("add", "add_"))
    return adds and all(isinstance(one, fx.Node) for one in node.args) and not is_size(node)


def is_size(node: fx.Node) -> bool:
    """Whether a node is a size of tensors, or computed of such sizes alone."""
    if node.op == "call_method":
        return node.target in ("size", "dim")
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    inputs = node.all_input_nodes
    return node.target in _ON_SIZES and bool(inputs) and all(map(is_size, inputs))


def activation_of(node: fx.Node, module: nn.Module) -> nn.Module | None:
    """Returns the activation that a node computes, as a module; None where it computes something else.

    Args:
        node: A node of what `module` computes.
        module: The module, in which the targets of its graph are found.
    """
    if node.op == "call_module":
        found = module.get_submodule(str(node.target))
        is_one = type(found).__module__ in _FROM and not isinstance(found, _NO_ACTIVATIONS)
        return found if is_one else None
    if node.op == "call_function" and node.target in _FUNCTIONS:
        asked = {name: value for name, value in node.kwargs.items() if name != "inplace"}
        return _FUNCTIONS[node.target]() if len(node.args) == 1 and not asked else None
    if node.op == "call_method" and node.target in ("relu", "relu_"):
        return nn.ReLU()
    return None
