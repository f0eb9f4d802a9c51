"""The modules of a network read from the outside in: what each computes, and where a branch stands beside a skip."""

from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor, fx, nn

from pruner.anatomy.graph import graph_of
from pruner.anatomy.observe import Call, Given, given_to, observed
from pruner.anatomy.regions import Region, regions_of
from pruner.anatomy.registered import is_registered
from pruner.errors import UnknownModelError

_WHOLE_NETWORK: Final = ""


@dataclass(frozen=True)
class Reading:
    """What was read of a module.

    Attributes:
        call: What the module is called with.
        graph: What it computes, with its submodules as single nodes; None where it cannot be traced.
        regions: The branches beside skips in it.
        called: The paths, from the network on, of the submodules that stand in no region and were read too.
        has_skip: Whether there is a branch beside a skip in it or in one of those.
    """

    call: Call
    graph: fx.Graph | None
    regions: tuple[Region, ...]
    called: tuple[str, ...]
    has_skip: bool


class Readings:
    """Reads the modules of a network, without changing it.

    Attributes:
        of: Module path -> what was read. Modules inside a region are not read.
        seen: Module path -> what was seen of it while the network ran.
        refused: Module path -> why its forward was not read.
    """

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        """Reads the network and what is in it.

        Args:
            network: The network.
            images: One image (1, C, H, W), which it is run on.
        """
        self._network, self.seen = network, observed(network, images)
        self._images = images, torch.cat([images.flip(-1), 0.5 * images])
        self.of: dict[str, Reading] = {}
        self.refused: dict[str, str] = {}
        self._read(_WHOLE_NETWORK, Call())

    def runs(self, path: str) -> list[Given]:
        """Returns what the module at `path` is called with for one image, and for two."""
        if not path:
            return [((images,), {}) for images in self._images]
        return [given_to(self._network, path, images) for images in self._images]

    def _read(self, path: str, call: Call) -> None:
        module = self._network.get_submodule(path)
        try:
            graph = graph_of(module, call=call, runs=partial(self.runs, path))
        except UnknownModelError as error:
            self.refused[path] = str(error)
            self.of[path] = Reading(call, None, (), (), has_skip=False)
            return
        regions = regions_of(graph, module)
        inside = {node for region in regions for node in region.nodes}
        outside = [node for node in graph.nodes if node.op == "call_module" and node not in inside]
        called = [str(node.target) for node in graph.nodes if node.op == "call_module"]
        below = [
            self._child(path, str(node.target), times=called.count(str(node.target)))
            for node in outside
            if _may_hold_blocks(module.get_submodule(str(node.target)))
        ]
        found = tuple(dict.fromkeys(own for own in below if own in self.of))
        has_skip = bool(regions) or any(self.of[own].has_skip for own in found)
        self.of[path] = Reading(call, graph, tuple(regions), found, has_skip)

    def _child(self, path: str, name: str, *, times: int) -> str:
        """Reads a module that is called in the one at `path`, so many times, and returns its path."""
        own = f"{path}.{name}".lstrip(".")
        child = self._network.get_submodule(own)
        if times > 1 or own not in self.seen:
            kind = type(child).__name__
            self.refused[own] = f"a {kind} is not run once, or is given something other than tensors and numbers"
        elif is_registered(child):
            self.of[own] = Reading(self.seen[own].call, None, (), (), has_skip=False)
        else:
            self._read(own, self.seen[own].call)
        return own


def _may_hold_blocks(module: nn.Module) -> bool:
    return is_registered(module) or any(True for _ in module.children())
