"""Sites put into a network: one for each branch beside a skip that its modules compute."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import fx, nn

from pruner.algebra.steps import Activation, Step
from pruner.anatomy.graph import activation_of, graph_of, is_alike_in_training, is_kept, is_size
from pruner.anatomy.regions import Region, regions_of
from pruner.anatomy.steps import opaque, steps_of_row
from pruner.choices.choice import MERGE
from pruner.choices.forms import Residual
from pruner.choices.site import Site, make_site
from pruner.errors import UnknownModelError

BRANCH: Final = "branch"


class Placing:
    """Goes through the modules of a network from the outside in, and puts sites into it, in place.

    A module that computes one region and nothing else is replaced by the region's site. A module that computes more is
    replaced by a graph module that computes the same, with sites for its regions.

    Attributes:
        sites: Module path -> the site that stands there now.
        refused: Module path -> why there is none.
    """

    def __init__(self, network: nn.Module, calls: Mapping[str, Any]) -> None:
        """Puts the sites in.

        Args:
            network: The network.
            calls: What `observed` found of its modules.
        """
        self._network, self._calls = network, calls
        self.sites: dict[str, Site] = {}
        self.refused: dict[str, str] = {}
        self._place("", {}, is_alone=False)

    def _place(self, path: str, given: Mapping[str, Any], *, is_alone: bool) -> None:
        """Puts sites into the module at `path`.

        Args:
            path: The module's.
            given: The values that it is given beside its first argument.
            is_alone: Whether it is called with that argument alone, so that a site may take its place.
        """
        module = self._network.get_submodule(path)
        try:
            graph = graph_of(module, given=given)
        except UnknownModelError as error:
            self.refused[path] = str(error)
            return
        regions = regions_of(graph, module)
        inside = {node for region in regions for node in region.nodes}
        called = [str(node.target) for node in graph.nodes if node.op == "call_module"]
        for node in graph.nodes:
            if node.op == "call_module" and node not in inside:
                self._place_in_child(path, module, str(node.target), times=called.count(str(node.target)))
        if not regions:
            return
        if not path:
            self.refused[path] = "its own forward has branches beside skips, which no module holds"
        elif not is_alike_in_training(module, graph, given):
            self.refused[path] = f"the code of {type(module).__name__} computes something else in training"
        elif is_alone and len(regions) == 1 and _is_whole(regions[0], graph):
            self.sites[path] = _site(path, module, module, regions[0])
            self._network.set_submodule(path, self.sites[path])
        else:
            placed, replaced = _with_sites(module, path, graph, regions)
            self._network.set_submodule(path, replaced)
            self.sites |= placed

    def _place_in_child(self, path: str, module: nn.Module, name: str, *, times: int) -> None:
        """Does the same for a module that is called in the one at `path`, so many times."""
        child, own = module.get_submodule(name), f"{path}.{name}".lstrip(".")
        if not any(True for _ in child.children()):
            return
        if times > 1 or own not in self._calls:
            self.refused[own] = f"a {type(child).__name__} is given more than one tensor, or not run once"
            return
        given, named = self._calls[own]
        _, *names = inspect.signature(child.forward).parameters
        self._place(own, dict(zip(names, given, strict=False)) | named, is_alone=not given and not named)


def _is_whole(region: Region, graph: fx.Graph) -> bool:
    output = next(node for node in graph.nodes if node.op == "output")
    return region.entry.op == "placeholder" and output.args[0] is region.exit


def _site(name: str, kept: nn.Module, module: nn.Module, region: Region) -> Site:
    """The site of a region of what `module` computes; `kept` computes the region alone."""
    norms: list[nn.Module] = []
    branch = steps_of_row(region.entry, region.branch, module, norms)
    shortcut = steps_of_row(region.entry, region.shortcut, module, norms)
    act = None if region.end is None else activation_of(region.end, module)
    end = None if act is None else Activation(act)
    if branch and shortcut is not None:
        anatomy, needed = Residual(branch, shortcut, end), norms
    else:
        anatomy, needed = _opaque(kept, module, region, shortcut, end), []
    site = make_site(name, BRANCH, kept, anatomy, {MERGE: (anatomy.branch,)}, needed)
    site.channels_stand_last = not _takes_channels_first(region, module)
    return site


def _opaque(
    kept: nn.Module, module: nn.Module, region: Region, shortcut: tuple[Step, ...] | None, end: Activation | None
) -> Residual:
    """A region with its branch as one opaque step; as a whole where nothing is known of its shortcut either."""
    if shortcut is None:
        return Residual((opaque(kept, type(kept).__name__),), None)
    largest = type(module.get_submodule(_largest_in(region, module))).__name__
    return Residual((opaque(_module_of(region, module, region.branch), largest),), shortcut, end)


def _takes_channels_first(region: Region, module: nn.Module) -> bool:
    """Whether the first layer of a region takes images (B, C, H, W), as convolutions and their norms do."""
    called = (module.get_submodule(str(node.target)) for node in region.nodes if node.op == "call_module")
    layers = (layer for one in called for layer in one.modules() if any(True for _ in layer.parameters(recurse=False)))
    first = next(layers, None)
    return isinstance(first, (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm)) or type(first).__name__.endswith("2d")


def _largest_in(region: Region, module: nn.Module) -> str:
    """The path, in `module`, of the module with most parameters that a region runs; empty where it runs none."""

    def parameters(path: str) -> int:
        return sum(parameter.numel() for parameter in module.get_submodule(path).parameters())

    targets = [str(node.target) for node in region.nodes if node.op == "call_module"]
    return max(targets, key=parameters, default="")


def _module_of(region: Region, module: nn.Module, last: fx.Node) -> fx.GraphModule:
    """What a region computes of its entry up to one of its nodes, as a module over the same weights."""
    graph = fx.Graph()
    known: dict[fx.Node, fx.Node] = {region.entry: graph.placeholder("x")}
    for node in region.nodes:
        known[node] = graph.node_copy(node, lambda one: known[one])
    graph.output(known[last])
    graph.eliminate_dead_code(is_kept)
    return fx.GraphModule(module, graph)


def _with_sites(
    module: nn.Module, path: str, graph: fx.Graph, regions: Sequence[Region]
) -> tuple[dict[str, Site], fx.GraphModule]:
    """The sites of a module's regions, and a module of the same arguments that computes the same, with them in it."""
    at = {region.exit: (_largest_in(region, module), region) for region in regions if _largest_in(region, module)}
    sites = {
        target: _site(f"{path}.{target}", _module_of(region, module, region.exit), module, region)
        for target, region in at.values()
    }
    inside = {node for _, region in at.values() for node in region.nodes}
    new = fx.Graph()
    known: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in at:
            target, region = at[node]
            known[node] = new.call_module(target, (known[region.entry],))
        elif node not in inside or _is_used_outside(node, inside):
            known[node] = new.node_copy(node, lambda one: known[one])
        if node.op == "placeholder":
            _, *others = inspect.signature(module.forward).parameters.values()
            for one in others:
                if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
                    new.placeholder(one.name, default_value=None if one.default is one.empty else one.default)
    new.eliminate_dead_code(is_kept)
    held: dict[str, Any] = {}
    for node in new.nodes:
        if node.op in ("call_module", "get_attr"):
            name = str(node.target)
            held[name] = sites[name] if name in sites else _attribute(module, name)
    return {f"{path}.{target}": site for target, site in sites.items()}, fx.GraphModule(held, new)


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
