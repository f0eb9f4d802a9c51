"""A network's graph cut at its sites, into parts that one tensor enters and one leaves."""

import itertools
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from pruner.algebra.modules import BatchNormPair
from pruner.algebra.oddities import why_not_plain
from pruner.choices.site import Site
from pruner.errors import UnknownModelError

Number = int | tuple["Number", ...]


@dataclass(frozen=True)
class Part:
    """A site, or what is computed before, between or after sites.

    Attributes:
        name: The name of the site; of another part, the module in it that says most of it.
        graph: What it computes of the tensor that enters; None for a site.
    """

    name: str
    graph: fx.Graph | None = None

    def module(self, network: nn.Module) -> nn.Module:
        """Returns the part as a module over the weights of `network`."""
        return network.get_submodule(self.name) if self.graph is None else fx.GraphModule(network, self.graph)

    def batch_norm_pairs(self, network: nn.Module) -> list[BatchNormPair]:
        """Returns the plain convolutions of this part, each with the BatchNorm that follows it directly."""
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


def parts_of(
    graph: fx.Graph, network: nn.Module, sites: Mapping[str, Site], images: Tensor
) -> tuple[list[Part], dict[str, str]]:
    """Cuts a network's graph before and behind each of its sites.

    Args:
        graph: What the network computes, with the sites as single nodes.
        network: The network, with the sites in it.
        sites: Module path -> the site there.
        images: One image (1, C, H, W) of the size that the network is opened for: sizes that are used far from where
            they are taken become numbers.

    Returns:
        The parts in the order in which they run; and module path -> why, for sites that the network does not run
        through one after another: then the parts are not to be used.
    """
    nodes = list(graph.nodes)
    order = {node: place for place, node in enumerate(nodes)}
    at = [node for node in nodes if node.op == "call_module" and str(node.target) in sites]
    names = [str(node.target) for node in at]
    stray = {name: "it is not run, or more than once" for name in sites if names.count(name) != 1}
    stray |= {str(place.target): "it is given more than one tensor" for place in at if len(place.all_input_nodes) != 1}
    if stray:
        return [], stray
    try:
        numbers = _numbers(graph, network, images)
    except Exception as error:  # whatever a network raises that is run node by node
        reason = str(error).partition("\n")[0]
        raise UnknownModelError(f"this {type(network).__name__} does not run part by part: {reason}") from error
    for place in at:
        (entry,) = place.all_input_nodes
        alive = [
            node
            for node in nodes[: order[place]]
            if node is not entry and node not in numbers and node.op != "get_attr"
            and any(order[user] > order[place] for user in node.users)
        ]  # fmt: skip
        if alive or any(order[user] > order[place] for user in entry.users if user is not place):
            stray[str(place.target)] = "what is computed before it is used behind it too"
    if stray:
        return [], stray
    found: list[Part] = []
    (start,) = (node for node in nodes if node.op == "placeholder")
    output = nodes[-1]
    ends = [*((place.all_input_nodes[0], str(place.target)) for place in at), (output.args[0], "")]
    taken = {"stem", "head", *names}
    for index, (last, name) in enumerate(ends):
        if last is not start:
            title = "stem" if index == 0 else "head" if not name else ""
            title = title or _title(nodes[order[start] + 1 : order[last] + 1], index, taken)
            taken.add(title)
            found.append(Part(title, _between(start, last, numbers)))
        if name:
            found.append(Part(name))
            start = at[index]
    return found, {}


def _title(inside: Sequence[fx.Node], index: int, taken: Collection[str]) -> str:
    """What a part between sites is called: by the first module in it."""
    title = next((str(node.target) for node in inside if node.op == "call_module"), f"between.{index}")
    return title if title not in taken else f"{title}.{index}"


def _between(first: fx.Node, last: fx.Node, numbers: Mapping[fx.Node, tuple[Number, Number]]) -> fx.Graph:
    """What is computed from one node to another, of the first node's tensor alone."""
    graph = fx.Graph()
    entering = graph.placeholder("x")
    known: dict[fx.Node, Any] = {first: entering}
    images: list[fx.Node] = []

    def batch() -> fx.Node:
        if not images:
            shape = graph.call_function(getattr, (entering, "shape"))
            images.append(graph.call_function(operator.getitem, (shape, 0)))
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
            if node in numbers:
                known[node] = number(*numbers[node])
            else:
                known[node] = graph.node_copy(node, copied)
        return known[node]

    graph.output(copied(last))
    graph.lint()
    return graph


class _Noting(fx.Interpreter):
    """Runs a graph, and notes the sizes that it computes."""

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        super().__init__(network, graph=graph)
        self.numbers: dict[fx.Node, Number] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Runs one node."""
        found = super().run_node(n)
        if isinstance(found, int | tuple) and not isinstance(found, bool) and _is_number(found):
            self.numbers[n] = tuple(found) if isinstance(found, tuple) else found
        return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, tuple) and all(map(_is_number, value)))


@torch.no_grad()
def _numbers(graph: fx.Graph, network: nn.Module, images: Tensor) -> dict[fx.Node, tuple[Number, Number]]:
    """Node -> its size for one image and for two, for the nodes that are sizes and depend on the batch as its multiple
    if they do."""
    modes = [(module, module.training) for module in network.modules()]
    found: list[dict[fx.Node, Number]] = []
    try:
        network.eval()
        for count in (1, 2):
            run = _Noting(network, graph)
            run.run(images.expand(count, *images.shape[1:]))
            found.append(run.numbers)
    finally:
        for module, mode in modes:
            module.training = mode
    both = {node: (found[0][node], found[1][node]) for node in found[0].keys() & found[1].keys()}
    return {node: pair for node, pair in both.items() if _is_of_the_batch(*pair)}


def _is_of_the_batch(once: Number, twice: Number) -> bool:
    if isinstance(once, tuple) and isinstance(twice, tuple):
        return len(once) == len(twice) and all(map(_is_of_the_batch, once, twice))
    return isinstance(once, int) and isinstance(twice, int) and twice in (once, 2 * once)
