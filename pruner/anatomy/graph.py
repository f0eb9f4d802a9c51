"""What one forward pass of a module computes, as a graph: traced by torch.fx, with chosen modules as single nodes."""

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import fx, nn
from torch.nn import functional

from pruner.algebra.modules import only_training
from pruner.anatomy.observe import FLOWING, Call, Given, entering
from pruner.anatomy.recording import recorded
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
    def __init__(self, is_leaf: Callable[[str], bool], call: Call) -> None:
        super().__init__()
        self._is_leaf, self._call = is_leaf, call

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """Returns the forward pass as a function of the tensors that flow into it, and stand-ins for these."""
        entering: list[fx.Proxy] = []

        def filled(value: Any, name: str) -> Any:
            if value is FLOWING:
                entering.append(self.create_proxy("placeholder", name, (), {}))
                return entering[-1]
            if isinstance(value, dict):
                return {key: filled(one, f"{name}_{key}") for key, one in value.items()}
            if type(value) in (list, tuple):
                return type(value)(filled(one, f"{name}_{place}") for place, one in enumerate(value))
            return value

        names = places_of(self.root, self._call)
        args = [filled(value, name) for value, name in zip(self._call.args, names, strict=True)]
        named = {name: filled(value, name) for name, value in self._call.named.items()}
        return lambda root, *_: root_fn(root, *args, **named), [self.root, *entering]

    def create_arg(self, a: Any) -> Any:
        """Returns a value as a graph holds it. Dictionaries of other classes would come out as plain ones."""
        if isinstance(a, dict) and type(a) is not dict:
            raise TypeError(f"a {type(a).__name__} cannot be a value of a traced graph")
        return super().create_arg(a)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Returns whether the module is a single node of the graph."""
        return self._is_leaf(module_qualified_name)


_ONE_TENSOR: Final = Call()


Runs = Callable[[], Sequence[Given]]
"""A function that returns what a module is called with for one image, and for two."""


def graph_of(
    module: nn.Module,
    is_leaf: Callable[[str], bool] = lambda _: True,
    call: Call = _ONE_TENSOR,
    runs: Runs | None = None,
) -> fx.Graph:
    """Returns what `module` computes in evaluation mode: traced, or recorded where it cannot be.

    Args:
        module: The module, whose modes are what they were afterwards.
        is_leaf: Whether the submodule of that path is to be one node, or traced itself.
        call: What it is called with; each tensor that flows is a placeholder of the graph, in order.
        runs: Its arguments, to record it by; without them it is traced only.

    Raises:
        UnknownModelError: when it can be neither traced nor recorded, or is not called so.

    Example:
        >>> from torch import nn
        >>> print([node.name for node in graph_of(nn.Sequential(nn.Linear(4, 4), nn.ReLU())).nodes])
        ['input_1', '_0', '_1', 'output']
    """
    with only_training(module, []):
        try:
            return _traced(module, is_leaf, call)
        except UnknownModelError:
            if runs is None:
                raise
            return _recorded(module, is_leaf, call, runs())


def places_of(module: nn.Module, call: Call) -> list[str]:
    """Returns a name for each argument by place of a call: its parameter's, if it has one of its own."""
    found: list[str] = []
    count = len(call.args)
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            found += [f"{parameter.name}_{place}" for place in range(count - len(found))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            found.append(parameter.name)
    return found[:count]


def is_alike_in_training(module: nn.Module, graph: fx.Graph, call: Call, runs: Runs) -> bool:
    """Whether a module's own code computes in training what a graph from `graph_of` says, its submodules left aside.

    Args:
        module: The module.
        graph: What it computes in evaluation, with its submodules as single nodes.
        call: What it is called with.
        runs: Its arguments.
    """
    with only_training(module, []):
        module.training = True  # and its submodules, which may run here, are in evaluation as before
        try:
            return str(_traced(module, lambda _: True, call)) == str(graph)
        except UnknownModelError:
            try:
                return str(_recorded(module, lambda _: True, call, runs())) == str(graph)
            except UnknownModelError:
                return False


def _traced(module: nn.Module, is_leaf: Callable[[str], bool], call: Call) -> fx.Graph:
    name = type(module).__name__
    try:
        inspect.signature(module.forward).bind(*call.args, **call.named)
    except TypeError as error:
        raise UnknownModelError(f"a {name} is not called so: {error}") from error
    try:
        graph = _Tracer(is_leaf, call).trace(module)
    except Exception as error:  # whatever code raises that is run on stand-ins for tensors
        reason = str(error).partition("\n")[0]
        raise UnknownModelError(f"the forward of {name} cannot be traced: {reason}") from error
    return _without_checks(graph)


def _recorded(module: nn.Module, is_leaf: Callable[[str], bool], call: Call, runs: Sequence[Given]) -> fx.Graph:
    names: list[str] = []

    def name(value: Any, path: str) -> None:
        if value is FLOWING:
            names.append(path)
        elif isinstance(value, dict) or type(value) in (list, tuple):
            for key, one in value.items() if isinstance(value, dict) else enumerate(value):
                name(one, f"{path}_{key}")

    for value, place in zip(call.args, places_of(module, call), strict=True):
        name(value, place)
    for key, value in call.named.items():
        name(value, key)
    try:
        graph = recorded(module, is_leaf, runs, names, [entering(call, given) for given in runs])
    except Exception as error:  # whatever code raises that runs under a recorder
        reason = str(error).partition("\n")[0]
        raise UnknownModelError(f"the forward of {type(module).__name__} cannot be recorded: {reason}") from error
    graph.eliminate_dead_code(is_kept)
    return graph


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
