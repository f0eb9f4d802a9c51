"""A network's graph cut at its sites, into stretches, and the tensors that flow from one to others."""

import itertools
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from pruner.algebra.answer import main_of, main_of_record
from pruner.algebra.flow import Part, Wire, connected
from pruner.algebra.modules import BatchNormPair
from pruner.algebra.oddities import why_not_plain
from pruner.anatomy.noting import Noted, Number, noted
from pruner.anatomy.regions import above
from pruner.choices.site import Site
from pruner.errors import UnknownModelError

_IN_PLACE: Final = {operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul}


@dataclass(frozen=True)
class Stretch:
    """A site, or what is computed before, between or after sites.

    Attributes:
        name: The name of the site; of another stretch, the first module in it.
        wire: Which tensors it takes and gives.
        graph: What it computes of the tensors that it takes; None for a site.
    """

    name: str
    wire: Wire
    graph: fx.Graph | None = None

    def part(self, network: nn.Module) -> Part:
        """Returns it as a part of `network`, over the same weights."""
        module = network.get_submodule(self.name) if self.graph is None else fx.GraphModule(network, self.graph)
        return Part(self.name, module, self.wire)

    def batch_norm_pairs(self, network: nn.Module) -> list[BatchNormPair]:
        """Returns the plain convolutions of a stretch that is no site, each with the BatchNorm that follows it."""
        if self.graph is None:
            return []
        found: list[BatchNormPair] = []
        for node in self.graph.nodes:
            if node.op != "call_module":
                continue
            module = network.get_submodule(str(node.target))
            for row in (list(one) for one in module.modules() if isinstance(one, nn.Sequential)):
                found += [pair for both in itertools.pairwise(row) for pair in _pair(*both)]
            before = next(iter(node.all_input_nodes), node)
            if before.op == "call_module" and len(before.users) == 1:
                found += _pair(network.get_submodule(str(before.target)), module)
        return found


def _pair(conv: nn.Module, norm: nn.Module) -> list[BatchNormPair]:
    """The two as a pair; nothing where they are no plain convolution and no plain BatchNorm."""
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
        return []
    why = why_not_plain(conv, "convolution", nn.Conv2d) or why_not_plain(norm, "BatchNorm", nn.BatchNorm2d)
    return [(conv, norm)] if why is None else []


def stretches_of(
    graph: fx.Graph, network: nn.Module, sites: Mapping[str, Site], images: Tensor
) -> tuple[list[Stretch], dict[str, str]]:
    """Cuts a network's graph before and behind each of its sites.

    Args:
        graph: What the network computes, with the sites as single nodes.
        network: The network, with the sites in it.
        sites: Module path -> the site there.
        images: One image (1, C, H, W) of the size that the network is opened for: sizes that are used far from where
            they are taken become numbers.

    Returns:
        The stretches in the order in which they run; and module path -> why, for sites that the graph cannot be cut at:
        then the stretches are not to be used.

    Raises:
        UnknownModelError: when the graph does not run node by node.
    """
    at = [node for node in graph.nodes if node.op == "call_module" and str(node.target) in sites]
    names = [str(node.target) for node in at]
    stray = {name: "it is not run, or more than once" for name in sites if names.count(name) != 1}
    stray |= {str(place.target): "it is given more than one tensor" for place in at if len(place.all_input_nodes) != 1}
    if stray:
        return [], stray
    try:
        known = noted(graph, network, images)
    except Exception as error:  # whatever a network raises that is run node by node
        reason = str(error).partition("\n")[0]
        raise UnknownModelError(f"this {type(network).__name__} does not run part by part: {reason}") from error
    cutting = _Cutting(graph, at, known)
    stray = {str(place.target): "the answer does not depend on it" for place in at if not cutting.needs(place)}
    stray = stray or cutting.stray()
    return ([], stray) if stray else (cutting.stretches(), {})


class _Cutting:
    """A graph, cut before and behind chosen nodes, into groups of nodes.

    A tensor is computed where the graph computes it, and flows from there to wherever it is taken. What no image plays
    a part in, and sizes, are computed again in each group that needs them.
    """

    def __init__(self, graph: fx.Graph, at: Sequence[fx.Node], known: Noted) -> None:
        self._at, self._known = set(at), known
        self._output = next(node for node in reversed(graph.nodes) if node.op == "output")
        self._images = next(node for node in graph.nodes if node.op == "placeholder")
        self._leaves = dict.fromkeys(_answers(self._output))
        self._needed = above(*self._leaves)
        self._group_of = self._grouped(graph)
        count = max(self._group_of.values()) + 1
        self._groups: list[list[fx.Node]] = [[] for _ in range(count)]
        for node, group in self._group_of.items():
            self._groups[group].append(node)
        self._takes = [self._taken_by(nodes) for nodes in self._groups]

    def needs(self, node: fx.Node) -> bool:
        """Whether the answer depends on a node."""
        return node in self._needed

    def _grouped(self, graph: fx.Graph) -> dict[fx.Node, int]:
        """Node -> the number of its group, for the nodes that compute something of the images."""
        found: dict[fx.Node, int] = {}
        current, is_new = -1, True
        for node in graph.nodes:
            if node not in self._needed or node.op == "placeholder":
                continue
            if node in self._known.numbers or node in self._known.plain:
                continue
            inputs = self._flowing_into(node, found)
            if not inputs:
                continue
            entry = inputs[0]
            if node in self._at:
                current, is_new = current + 1, True
                found[node] = current
            elif node.target is operator.getitem and entry not in self._known.shapes and entry in found:
                found[node] = found[entry]  # an entry of a list is taken where the list is made
            else:
                current += is_new
                is_new = False
                found[node] = current
        return found

    def _flowing_into(self, node: fx.Node, groups: Mapping[fx.Node, int] | None = None) -> list[fx.Node]:
        """The nodes that a node takes and that are computed of the images, in order."""
        groups = self._group_of if groups is None else groups
        return [one for one in node.all_input_nodes if one is self._images or one in groups]

    def _taken_by(self, nodes: Sequence[fx.Node]) -> list[fx.Node]:
        """What a group takes from outside, in the order of first use."""
        inside = set(nodes)
        return list(dict.fromkeys(one for node in nodes for one in self._flowing_into(node) if one not in inside))

    def _gives(self, group: int) -> list[fx.Node]:
        behind = {node for taken in self._takes[group + 1 :] for node in taken} | self._leaves.keys()
        return [node for node in self._groups[group] if node in behind]

    def stray(self) -> dict[str, str]:
        """Module path -> why, for the sites that the graph cannot be cut at."""
        found: dict[str, str] = {}
        for group, nodes in enumerate(self._groups):
            name = str(nodes[0].target)
            past = [node for taken in self._takes[group:] for node in taken if self._group_of.get(node, -1) < group]
            if nodes[0] not in self._at:
                continue
            if any(node not in self._known.shapes for node in (*past, *nodes)):
                found[name] = "a list of tensors flows past it"
        return found

    def stretches(self) -> list[Stretch]:
        """The groups as stretches, in the order in which they run."""
        gives = [self._gives(group) for group in range(len(self._groups))]
        numbers = {node: number for number, node in enumerate([self._images, *itertools.chain(*gives)])}
        wires = [
            Wire(tuple(numbers[one] for one in taken), tuple(numbers[one] for one in given))
            for taken, given in zip(self._takes, gives, strict=True)
        ]
        found: list[Stretch] = []
        names = {"stem", "head", *(str(node.target) for node in self._at)}
        for group, (nodes, wire) in enumerate(zip(self._groups, connected(wires), strict=True)):
            if nodes[0] in self._at:
                found.append(Stretch(str(nodes[0].target), wire))
                continue
            ends = {0: "stem", len(self._groups) - 1: "head"}
            title = ends.get(group) or _title(nodes, group, names)
            names.add(title)
            found.append(Stretch(title, wire, self._graph_of(nodes, self._takes[group], gives[group])))
        return found

    def _graph_of(self, nodes: Sequence[fx.Node], takes: Sequence[fx.Node], gives: Sequence[fx.Node]) -> fx.Graph:
        """What a group computes, as a graph of the tensors that it takes."""
        graph = fx.Graph()
        entering = {node: graph.placeholder("x" if len(takes) == 1 else f"x{i}") for i, node in enumerate(takes)}
        known: dict[fx.Node, Any] = dict(entering)
        images: list[fx.Node] = []

        def batch() -> fx.Node:
            if not images:
                found = ((node, self._known.images_in(node)) for node in takes)
                node, times = next(((node, times) for node, times in found if times), (takes[0], 0))
                if not times:
                    raise UnknownModelError(
                        "a size depends on the number of images, which nothing that flows there tells"
                    )
                shape = graph.call_function(getattr, (entering[node], "shape"))
                count = graph.call_function(operator.getitem, (shape, 0))
                images.append(count if times == 1 else graph.call_function(operator.floordiv, (count, times)))
            return images[0]

        def number(once: Number, twice: Number) -> Any:
            if isinstance(once, tuple) and isinstance(twice, tuple):
                return tuple(number(*both) for both in zip(once, twice, strict=True))
            assert isinstance(once, int)
            if once == twice:
                return once
            return batch() if once == 1 else graph.call_function(operator.mul, (batch(), once))

        def copied(node: fx.Node) -> Any:
            if node not in known:
                if node in self._known.numbers:
                    known[node] = number(*self._known.numbers[node])
                elif node in self._known.plain:
                    known[node] = _value(self._known.plain[node], graph, next(iter(entering.values())))
                else:
                    known[node] = _out_of_place(graph.node_copy(node, copied))
            return known[node]

        for node in nodes:  # in order, so that a long row is not copied in as many calls within calls
            copied(node)
        given = [copied(node) for node in gives]
        graph.output(given[0] if len(given) == 1 else tuple(given))
        graph.lint()
        return graph


def _answers(output: fx.Node) -> list[fx.Node]:
    """The node of what a network answers, of all that it returns."""
    found = main_of(output.args[0])
    while isinstance(found, fx.Node) and isinstance(found.target, type):  # a dataclass or the like, made of its entries
        given: Any = found.args
        is_mapping = bool(given) and issubclass(found.target, Mapping)
        found = main_of(dict(given[0]) if is_mapping else given) if given else main_of_record(found.kwargs)
    return [found] if isinstance(found, fx.Node) else []


def _value(value: Any, graph: fx.Graph, entering: fx.Node) -> Any:
    """A plain value in a graph; a device or a dtype is that of the tensor that enters, wherever that lies."""
    if isinstance(value, torch.device):
        return graph.call_function(getattr, (entering, "device"))
    if isinstance(value, torch.dtype) and value.is_floating_point:
        return graph.call_function(getattr, (entering, "dtype"))
    return value


def _out_of_place(node: fx.Node) -> fx.Node:
    """Lets a node leave what it is given as it is: that may flow elsewhere too, or be kept for another run."""
    if node.op == "call_function" and node.target in _IN_PLACE:
        node.target = _IN_PLACE[node.target]
    elif node.op == "call_method" and str(node.target).endswith("_") and not str(node.target).endswith("__"):
        node.target = str(node.target)[:-1]
    if node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}
    return node


def _title(inside: Sequence[fx.Node], group: int, taken: Collection[str]) -> str:
    """What a stretch between sites is called: by the first module in it."""
    title = next((str(node.target) for node in inside if node.op == "call_module"), f"between.{group}")
    return title if title not in taken else f"{title}.{group}"
