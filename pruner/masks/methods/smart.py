"""The SMART pruner: masks that are learned with the weights through a soft top-k that hardens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pruner.gates.temperature import Falling, Temperature
from pruner.masks.methods.method import Method, method

if TYPE_CHECKING:
    from pruner.masks.masked import Masked


@method
@dataclass(frozen=True)
class Smart(Method):
    """SMART (arXiv 2403.19969): w * f_tau(m), with weights w and one number m for each group learned together.

    f_tau is the soft top-k over all groups of the network, so that their sparsity is at its target all the time, and
    tau falls geometrically, so that what is half in keeps changing until late. Then the k largest m are kept, and the
    weights trained on under that mask. N:M has no m: f_tau is the soft top-k of |w| among every M neighbours.

    The paper leaves open what m begins as, how tau falls, and how fast m learns. Here m begins as the rank of the
    group's magnitude among all groups, over their number: evenly spread over (0, 1], whatever the weights are like, so
    that tau is a share of the groups: about 4 tau of them are neither in nor out. For N:M, |w| is over its mean in the
    layer.
    """

    name = "smart"
    mask_lr_scale: float = 20.0
    temperature: Temperature = field(default_factory=lambda: Falling(0.1, 0.002))

    def initial_masks(self, masked: "Masked") -> dict[str, Tensor]:
        return ranks(masked.magnitudes()) if masked.granularity.has_masks else {}

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        learned = dict(masked.masks.items()) if masked.granularity.has_masks else relative_magnitudes(masked)
        return masked.selection.soft(learned, self.temperature.at(searched))

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
        return dict(masked.masks.items()) if masked.granularity.has_masks else masked.magnitudes()


def ranks(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Part -> (entries,) the place of each group's score among all, the best last, over how many groups there are."""
    every = torch.cat(list(scores.values()))
    places = every.argsort(stable=True).argsort(stable=True)
    shares = (places + 1).to(every.dtype) / len(every)
    return dict(zip(scores, (some.clone() for some in shares.split([len(s) for s in scores.values()])), strict=True))


def relative_magnitudes(masked: "Masked") -> dict[str, Tensor]:
    """Part -> (entries,) |w| over its mean in the layer, through which weights learn."""
    weights = masked.weights()
    sizes = {part.key: part.mean(weights[part.key].abs()) for part in masked.parts}
    return {key: size / size.detach().mean() for key, size in sizes.items()}
