"""The site of a region: its steps as far as they are known, and the choices that these allow."""

from collections.abc import Sequence
from typing import Final

from torch import fx, nn

from pruner.algebra.steps import Activation, Convolution, Linear, Step
from pruner.anatomy.graph import activation_of
from pruner.anatomy.regions import Region, largest_in, module_of
from pruner.anatomy.steps import opaque, steps_of_row
from pruner.choices.choice import MERGE
from pruner.choices.forms import Residual
from pruner.choices.site import Site, make_site

BRANCH: Final = "branch"
"""The kind of every block that is found in what a network computes."""


def site_of_region(name: str, kept: nn.Module, module: nn.Module, region: Region) -> Site:
    """The site of a region of what `module` computes; `kept` computes the region alone."""
    norms: list[nn.Module] = []
    if region.shortcut is None:
        steps = steps_of_row(region.entry, region.exit, module, norms)
        return _left_out(name, kept, steps or (opaque(kept, type(kept).__name__),), norms)
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


def site_of_row(name: str, kept: nn.Module, graph: fx.Graph | None) -> Site:
    """The site of a whole module without a skip, which gives the shape that it takes."""
    norms: list[nn.Module] = []
    steps = None if graph is None else row_in(kept, graph, norms)
    if steps is None:
        steps, norms = (opaque(kept, type(kept).__name__),), []
    return _left_out(name, kept, steps, norms)


def row_in(module: nn.Module, graph: fx.Graph, norms: list[nn.Module]) -> tuple[Step, ...] | None:
    """The steps of all that a module computes; None where it is no row of known layers."""
    entry = next(node for node in graph.nodes if node.op == "placeholder")
    output = next(node for node in graph.nodes if node.op == "output").args[0]
    return steps_of_row(entry, output, module, norms) if isinstance(output, fx.Node) else None


def _left_out(name: str, kept: nn.Module, steps: tuple[Step, ...], norms: Sequence[nn.Module]) -> Site:
    """The site of steps in a row. If only one of them mixes channels, folding them would change nothing."""
    last = steps[-1]
    end = last if isinstance(last, Activation) else None
    branch = steps if end is None else steps[:-1]
    anatomy = Residual(branch, None, end, is_square=True)
    folds = sum(isinstance(step, (Convolution, Linear)) for step in branch) != 1
    site = make_site(name, BRANCH, kept, anatomy, {MERGE: (branch,)} if folds else {}, norms if folds else [])
    first = next((one for one in kept.modules() if any(True for _ in one.parameters(recurse=False))), None)
    site.channels_stand_last = not _is_of_images(first)
    return site


def _opaque(
    kept: nn.Module, module: nn.Module, region: Region, shortcut: tuple[Step, ...] | None, end: Activation | None
) -> Residual:
    """A region with its branch as one opaque step; as a whole where nothing is known of its shortcut either."""
    if shortcut is None:
        return Residual((opaque(kept, type(kept).__name__),), None)
    largest = type(module.get_submodule(largest_in(region, module))).__name__
    return Residual((opaque(module_of(region, module, region.branch), largest),), shortcut, end)


def _takes_channels_first(region: Region, module: nn.Module) -> bool:
    """Whether the first layer of a region takes images (B, C, H, W), as convolutions and their norms do."""
    called = (module.get_submodule(str(node.target)) for node in region.nodes if node.op == "call_module")
    layers = (layer for one in called for layer in one.modules() if any(True for _ in layer.parameters(recurse=False)))
    return _is_of_images(next(layers, None))


def _is_of_images(layer: nn.Module | None) -> bool:
    return isinstance(layer, (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm)) or type(layer).__name__.endswith("2d")
