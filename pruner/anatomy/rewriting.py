"""Modules rewritten as graph modules of the same arguments, with sites for their regions."""

import inspect
from collections.abc import Sequence
from typing import Any

from torch import fx, nn

from pruner.anatomy.graph import is_kept, is_size
from pruner.anatomy.observe import FLOWING, Call
from pruner.anatomy.regions import Region, largest_in, module_of
from pruner.anatomy.sites import site_of_region
from pruner.choices.site import Site


def with_sites(
    module: nn.Module, path: str, graph: fx.Graph, regions: Sequence[Region], call: Call
) -> tuple[dict[str, Site], fx.GraphModule]:
    """The sites of a module's regions, and a module of the same arguments that computes the same, with them in it."""
    at = {region.exit: (largest_in(region, module), region) for region in regions if largest_in(region, module)}
    sites = {
        target: site_of_region(f"{path}.{target}", module_of(region, module, region.exit), module, region)
        for target, region in at.values()
    }
    inside = {node for _, region in at.values() for node in region.nodes}
    new = fx.Graph()
    known = _entering(new, module, graph, call)
    for node in graph.nodes:
        if node in at:
            target, region = at[node]
            known[node] = new.call_module(target, (known[region.entry],))
        elif node.op != "placeholder" and (node not in inside or _is_used_outside(node, inside)):
            known[node] = new.node_copy(node, lambda one: known[one])
    new.eliminate_dead_code(is_kept)
    held: dict[str, Any] = {}
    for node in new.nodes:
        if node.op in ("call_module", "get_attr"):
            name = str(node.target)
            held[name] = sites[name] if name in sites else _attribute(module, name)
    return {f"{path}.{target}": site for target, site in sites.items()}, fx.GraphModule(held, new)


def can_be_rewritten(module: nn.Module, graph: fx.Graph, call: Call) -> bool:
    """Whether all tensors that a graph uses are arguments of their own."""
    own = {name for name, value in _bound(module, call).items() if value is FLOWING}
    return all(str(node.target) in own for node in graph.nodes if node.op == "placeholder" and node.users)


def _bound(module: nn.Module, call: Call) -> dict[str, Any]:
    """Parameter of the module's forward -> what it is called with."""
    return inspect.signature(module.forward).bind(*call.args, **call.named).arguments


def _entering(new: fx.Graph, module: nn.Module, graph: fx.Graph, call: Call) -> dict[fx.Node, fx.Node]:
    """Gives a new graph the arguments of a module, and returns them by the placeholders of the old graph."""
    old = {str(node.target): node for node in graph.nodes if node.op == "placeholder"}
    bound, known = _bound(module, call), {}
    is_first = True
    for one in inspect.signature(module.forward).parameters.values():
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            new.placeholder(("*" if one.kind is one.VAR_POSITIONAL else "**") + one.name)
            continue
        flows = bound.get(one.name) is FLOWING
        default = None if one.default is one.empty else one.default
        placed = new.placeholder(one.name) if flows and is_first else new.placeholder(one.name, default_value=default)
        is_first = is_first and flows
        if flows:
            known[old[one.name]] = placed
    return known


def _is_used_outside(node: fx.Node, inside: set[fx.Node]) -> bool:
    """Whether a size, or an attribute, that a region computes with is used behind it too."""
    if not is_size(node) and node.op != "get_attr":
        return False
    return any(user not in inside or _is_used_outside(user, inside) for user in node.users)


def _attribute(module: nn.Module, path: str) -> Any:
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part)
    return found
