"""The SMART pruner: masks that are learned with the weights, through a soft top-k that becomes hard."""

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
    """SMART (arXiv 2403.19969): the network runs with w * f_tau(m), and learns its weights w and masks m together.

    There is one number m for each group. f_tau is the soft top-k over all groups of the network, so the sparsity is at
    its target all the time. tau falls geometrically, so groups that are half masked keep changing until late. Then the
    groups with the k largest m are kept, and the weights are trained on under that mask. N:M has no m: f_tau is the
    soft top-k of |w| among every M neighbours.

    The paper leaves open what m begins as, how tau falls, and how fast m learns. Here m begins as the rank of the
    group's magnitude among all groups, over their number. It is spread evenly over (0, 1] whatever the weights are
    like, so tau is a share of the groups: about 4 tau of them are neither in nor out. For N:M, |w| is divided by its
    mean in the layer.

    Attributes:
        temperature: tau over the search.
    """

    name = "smart"
    mask_lr_scale: float = 20.0
    temperature: Temperature = field(default_factory=lambda: Falling(0.1, 0.002))

    def initial_masks(self, masked: "Masked") -> dict[str, Tensor]:
        """The number m of each group: the rank of its magnitude, in (0, 1]; nothing for N:M."""
        return ranks(masked.magnitudes()) if masked.granularity.has_masks else {}

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        """The soft top-k of m, or of the relative magnitudes for N:M."""
        learned = dict(masked.masks.items()) if masked.granularity.has_masks else relative_magnitudes(masked)
        return masked.selection.soft(learned, self.temperature.at(searched))

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
        """The numbers m, or the magnitudes for N:M."""
        return dict(masked.masks.items()) if masked.granularity.has_masks else masked.magnitudes()


def ranks(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rank of each group's score among all groups, over the number of groups: the best has 1.

    Args:
        scores: Part -> (entries,).

    Returns:
        Part -> (entries,) in (0, 1].

    Example:
        >>> import torch
        >>> from pruner.masks.methods.smart import ranks
        >>> ranks({"a": torch.tensor([0.3, 7.0]), "b": torch.tensor([0.1, 0.5])})["a"].tolist()
        [0.5, 1.0]
    """
    every = torch.cat(list(scores.values()))
    places = every.argsort(stable=True).argsort(stable=True)
    shares = (places + 1).to(every.dtype) / len(every)
    return dict(zip(scores, (some.clone() for some in shares.split([len(s) for s in scores.values()])), strict=True))


def relative_magnitudes(masked: "Masked") -> dict[str, Tensor]:
    """Part -> (entries,): |w| over its mean in the layer; the weights learn through it."""
    weights = masked.weights()
    sizes = {part.key: part.mean(weights[part.key].abs()) for part in masked.parts}
    return {key: size / size.detach().mean() for key, size in sizes.items()}
