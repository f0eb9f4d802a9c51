"""Sites put into a network: for each branch beside a skip, and for what gives the shape that it takes."""

from collections.abc import Sequence
from functools import partial

from torch import fx, nn

from pruner.anatomy.graph import is_alike_in_training
from pruner.anatomy.observe import Call
from pruner.anatomy.reading import Readings
from pruner.anatomy.regions import Region
from pruner.anatomy.registered import is_registered
from pruner.anatomy.rewriting import can_be_rewritten, with_sites
from pruner.anatomy.rows import mixes, rows_of
from pruner.anatomy.sites import row_in, site_of_region, site_of_row
from pruner.choices.site import Site


class Placing:
    """Goes through the modules of a network from the outside in, and puts sites into it, in place.

    A module that computes one region and nothing else is replaced by the region's site. A module that computes more is
    replaced by a graph module that computes the same, with sites for its regions. Where no skip stands in a module, the
    module itself is a region if it gives the shape that it takes.

    Attributes:
        sites: Module path -> the site that stands there now.
        refused: Module path -> why there is none.
    """

    def __init__(self, network: nn.Module, readings: Readings) -> None:
        """Puts the sites in, by what was read of the network."""
        self._network, self._readings = network, readings
        self.sites: dict[str, Site] = {}
        self.refused = readings.refused
        self._place("")

    def _place(self, path: str) -> None:
        """Puts sites into the module at `path`."""
        reading = self._readings.of[path]
        for own in reading.called:
            child = self._network.get_submodule(own)
            if is_registered(child) and not self._takes_and_gives_one(own):
                self.refused[own] = (
                    f"a {type(child).__name__} is no block: it has to give the shape of the one tensor it takes"
                )
            elif is_registered(child) or self._is_left_out_whole(own):
                self.sites[own] = site_of_row(own, child, self._readings.of[own].graph)
                self._network.set_submodule(own, self.sites[own])
                self.refused.pop(own, None)
            else:
                self._place(own)
        module, graph = self._network.get_submodule(path), reading.graph
        if graph is None:
            return
        inside = {node for region in reading.regions for node in region.nodes}
        rows = rows_of(graph, module, inside, lambda name: self._is_square(f"{path}.{name}")) if path else []
        regions = sorted((*reading.regions, *rows), key=lambda one: list(graph.nodes).index(one.exit))
        if regions:
            self._place_regions(path, module, graph, regions, reading.call)

    def _place_regions(
        self, path: str, module: nn.Module, graph: fx.Graph, regions: Sequence[Region], call: Call
    ) -> None:
        if not path:
            self.refused[path] = "its own forward has branches beside skips, which no module holds"
        elif not is_alike_in_training(module, graph, call, partial(self._readings.runs, path)):
            self.refused[path] = f"the code of {type(module).__name__} computes something else in training"
        elif call.is_of_one_tensor and len(regions) == 1 and _is_whole(regions[0], graph):
            self.sites[path] = site_of_region(path, module, module, regions[0])
            self._network.set_submodule(path, self.sites[path])
        elif not can_be_rewritten(module, graph, call):
            self.refused[path] = f"a {type(module).__name__} is given tensors in lists"
        else:
            placed, replaced = with_sites(module, path, graph, regions, call)
            self._network.set_submodule(path, replaced)
            self.sites |= placed

    def _is_square(self, path: str) -> bool:
        seen = self._readings.seen.get(path)
        return seen is not None and seen.is_square

    def _takes_and_gives_one(self, path: str) -> bool:
        """Whether the module at `path` is given one tensor alone, and gives one of the same shape."""
        return self._is_square(path) and self._readings.of[path].call.is_of_one_tensor

    def _is_left_out_whole(self, path: str) -> bool:
        """Whether the module at `path` is one region as a whole, without a skip: none stands in it, it gives the shape
        that it takes, and no smaller region would do."""
        reading, module = self._readings.of[path], self._network.get_submodule(path)
        if reading.has_skip or not self._takes_and_gives_one(path) or not mixes(module):
            return False
        if type(module) is nn.Sequential:
            composite = [f"{path}.{name}" for name, one in module.named_children() if any(True for _ in one.children())]
            with_weights = sum(mixes(one) for one in module.children())
            return not (with_weights > 1 and len(composite) >= with_weights and all(map(self._is_square, composite)))
        if reading.graph is not None and row_in(module, reading.graph, []) is not None:
            return True
        every = _weights(module)
        below = (name for name, one in module.named_modules() if name and _weights(one) == every)
        return not any(self._is_square(f"{path}.{name}") for name in below)


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _is_whole(region: Region, graph: fx.Graph) -> bool:
    output = next(node for node in graph.nodes if node.op == "output")
    return region.entry.op == "placeholder" and output.args[0] is region.exit
