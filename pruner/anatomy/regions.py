"""Regions of a graph that may be cut, with one tensor that enters and one that leaves: branches beside skips."""

from dataclasses import dataclass

from torch import fx, nn

from pruner.anatomy.graph import activation_of, is_kept, is_size, is_sum


@dataclass(frozen=True)
class Region:
    """A part of a graph that computes end(shortcut + branch) of one tensor, or end(branch).

    Attributes:
        entry: The node of the tensor that enters; it is not part of the region.
        exit: The node of the tensor that leaves.
        branch: The node that the branch ends in.
        shortcut: The node that the shortcut ends in; the entry itself where that is the identity, and None where there
            is no shortcut.
        end: The activation behind them, which is the exit; None where there is none.
        nodes: All nodes of the region, in order.
    """

    entry: fx.Node
    exit: fx.Node
    branch: fx.Node
    shortcut: fx.Node | None
    end: fx.Node | None
    nodes: tuple[fx.Node, ...]


def regions_of(graph: fx.Graph, module: nn.Module) -> list[Region]:
    """Returns the branches beside skips in a graph, in the order in which they run; of nested ones the outermost.

    Args:
        graph: What a module computes, from `graph_of`.
        module: The module, in which the targets of the graph's nodes are found.
    """
    order = {node: place for place, node in enumerate(graph.nodes)}
    found = [region for node in graph.nodes if is_sum(node) for region in [_region(node, order, module)] if region]
    chosen: list[Region] = []
    for region in sorted(found, key=lambda one: -len(one.nodes)):
        if all(set(region.nodes).isdisjoint(other.nodes) for other in chosen):
            chosen.append(region)
    return sorted(chosen, key=lambda one: order[one.exit])


def _region(total: fx.Node, order: dict[fx.Node, int], module: nn.Module) -> Region | None:
    first, second = total.args
    assert isinstance(first, fx.Node)
    assert isinstance(second, fx.Node)
    for shortcut, branch in ((first, second), (second, first)):
        if shortcut in above(branch):
            return _closed(shortcut, branch, shortcut, total, order, module)
    common = sorted(above(first) & above(second), key=lambda node: -order[node])
    long, short = sorted((first, second), key=lambda node: -len(above(node)))
    for entry in (node for node in common if not is_size(node)):
        region = _closed(entry, long, short, total, order, module)
        if region is not None:
            return region
    return None


def _closed(
    entry: fx.Node,
    branch: fx.Node,
    shortcut: fx.Node,
    total: fx.Node,
    order: dict[fx.Node, int],
    module: nn.Module,
) -> Region | None:
    """The region between two nodes; None where another tensor enters or leaves between them."""
    inside = {node for node in above(total) if node is not entry and entry in above(node)} | {total}
    for node in inside:
        given = [one for one in node.all_input_nodes if one not in inside and one is not entry]
        if any(one.op != "get_attr" for one in given):
            return None
        is_of_entry = is_size(node) and all(is_size(one) or one not in inside for one in above(node))
        if node is not total and not is_of_entry and not inside.issuperset(node.users):
            return None
    users = list(total.users)
    end = None
    is_last = len(users) == 1 and [one.op for one in users[0].users] == ["output"]
    if is_last and activation_of(users[0], module) is not None:
        end = users[0]
        inside.add(end)
    inside |= {one for node in inside for one in node.all_input_nodes if one.op == "get_attr"}
    nodes = tuple(sorted(inside, key=lambda node: order[node]))
    return Region(entry, end or total, branch, shortcut, end, nodes)


def above(*nodes: fx.Node) -> set[fx.Node]:
    """Returns all nodes that some nodes are computed of, themselves included."""
    found: set[fx.Node] = set()
    left = list(nodes)
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += one.all_input_nodes
    return found


def largest_in(region: Region, module: nn.Module) -> str:
    """The path, in `module`, of the module with most parameters that a region runs; empty where it runs none."""

    def parameters(path: str) -> int:
        return sum(parameter.numel() for parameter in module.get_submodule(path).parameters())

    targets = [str(node.target) for node in region.nodes if node.op == "call_module"]
    return max(targets, key=parameters, default="")


def module_of(region: Region, module: nn.Module, last: fx.Node) -> fx.GraphModule:
    """What a region computes of its entry up to one of its nodes, as a module over the same weights."""
    graph = fx.Graph()
    known: dict[fx.Node, fx.Node] = {region.entry: graph.placeholder("x")}
    for node in region.nodes:
        known[node] = graph.node_copy(node, lambda one: known[one])
    graph.output(known[last])
    graph.eliminate_dead_code(is_kept)
    return fx.GraphModule(module, graph)
