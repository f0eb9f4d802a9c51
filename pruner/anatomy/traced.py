"""The family of all other networks: read from what they compute, and run part by part."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pruner.algebra.flow import Part
from pruner.algebra.modules import BatchNormPair
from pruner.anatomy.graph import graph_of
from pruner.anatomy.placing import Placing
from pruner.anatomy.reading import Readings
from pruner.anatomy.stretches import Stretch, stretches_of
from pruner.choices.site import Site
from pruner.errors import UnknownModelError
from pruner.families.family import Family

_TOLD = 3


class Traced(Family):
    """A network that no family knows. One object is for one network, opened at one size.

    Attributes:
        refused: Module path -> why no block was found in that module.
    """

    name = "traced"

    def __init__(self, size: Sequence[int]) -> None:
        """Takes the size (channels, height, width) of the images that the network is opened for."""
        self._size = tuple(size)
        self._stretches: list[Stretch] = []
        self.refused = {}

    def recognises(self, model: nn.Module) -> bool:
        """Returns True: whether a network has blocks shows when it is opened."""
        return True

    def open(self, model: nn.Module) -> list[Site]:
        """Puts a site in place of every branch beside a skip that the network runs once.

        Raises:
            UnknownModelError: when there is none; the message says what was looked at.
        """
        images = self._example(model)
        placing = Placing(model, Readings(model, images))
        sites, self.refused = placing.sites, placing.refused
        while sites:
            graph = graph_of(
                model,
                lambda path: not any(site.startswith(f"{path}.") for site in sites),
                runs=lambda: [((images,), {}), ((torch.cat([images, images]),), {})],
            )
            self._stretches, stray = stretches_of(graph, model, sites, images)
            for name, why in stray.items():
                self.refused[name] = why
                model.set_submodule(name, sites.pop(name).kept)
            if not stray:
                return [sites[stretch.name] for stretch in self._stretches if stretch.graph is None]
        told = "; ".join(f"{name or 'as a whole'}: {why}" for name, why in list(self.refused.items())[:_TOLD])
        raise UnknownModelError(
            f"no block of this {type(model).__name__} can be cut: {told or 'it has no branch beside a skip'}"
        )

    def segments(self, model: nn.Module) -> dict[str, nn.Module]:
        """Returns the sites, and what is computed before, between and after them, over the same weights."""
        return {part.name: part.module for part in self.parts(model)}

    def parts(self, model: nn.Module) -> list[Part]:
        """Returns the same as parts, which say what flows from one to others."""
        return [stretch.part(model) for stretch in self._stretches]

    def batch_norm_pairs(self, model: nn.Module) -> list[BatchNormPair]:
        """Returns the BatchNorms outside the sites that follow a plain convolution, each with that convolution."""
        return [pair for stretch in self._stretches for pair in stretch.batch_norm_pairs(model)]

    def _example(self, model: nn.Module) -> Tensor:
        like = next(parameter for parameter in model.parameters() if parameter.is_floating_point())
        return torch.randn(1, *self._size, generator=torch.Generator().manual_seed(0)).to(like)
