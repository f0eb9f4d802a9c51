"""The fitted layers of a network: their weights, how well they fit, and how they are stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pruner.choices.choice import DROP
from pruner.models.checkpoint import Checkpoint


class Key(NamedTuple):
    """Identifies one fitted layer.

    Attributes:
        block: The name of the first block that the layer replaces.
        choice: The fitted choice, such as `fit` or `narrow-50`.
        span: How many blocks in a row the layer replaces.
    """

    block: str
    choice: str
    span: int = 1


@dataclass(frozen=True, eq=False)
class Fit:
    """The weights of one fitted layer, and how well it fits.

    Attributes:
        weights: Parameter or buffer of the layer, by its name there -> tensor; what was fitted is in float64.
        ridge: The ridge that was chosen on the held-out images, as a share of the features' mean variance.
        error: The mean squared error on the held-out images, as a share of the mean square of what the blocks add to
            their input: 0 is exact, and 1 is no better than dropping the blocks.
        added: The mean square of what the blocks add to their input: mean(w y^2) mean(w) over all tokens or pixels,
            where y is what the blocks add and w is how much the network's answer depends on that token or pixel.
    """

    weights: Mapping[str, Tensor]
    ridge: float
    error: float
    added: float = 0.0

    @property
    def is_worse_than_dropping(self) -> bool:
        """Whether the layer is no better than dropping the blocks: its error is 1 or more, or is not a number."""
        return not self.error < 1

    @torch.no_grad()
    def put_into(self, layer: nn.Module) -> None:
        """Copies the weights into `layer`, rounded once to its dtype."""
        layer.load_state_dict({**layer.state_dict(), **self.weights})


Fits = Mapping[Key, Fit]


def expected_harms(fits: Fits) -> dict[tuple[str, str], float]:
    """Estimates how much each fitted cut moves the network's answers, relative to the other cuts.

    A fitted block loses what the fit misses of what the block adds (`error * added`). A dropped block loses all that it
    adds (`added`). Only fits of a single block count.

    Returns:
        (block, choice) -> the expected harm, in no particular unit.

    Example:
        >>> from pruner.fitting.fits import Fit, Key, expected_harms
        >>> expected_harms({Key("blocks.3.mlp", "fit"): Fit({}, ridge=1e-4, error=0.25, added=8.0)})
        {('blocks.3.mlp', 'drop'): 8.0, ('blocks.3.mlp', 'fit'): 2.0}
    """
    alone = {(key.block, key.choice): fit for key, fit in fits.items() if key.span == 1}
    dropped = {(block, DROP): fit.added for (block, _), fit in alone.items()}
    return dropped | {cut: fit.error * fit.added for cut, fit in alone.items()}


def as_checkpoint(fits: Fits) -> Checkpoint:
    """Packs the fits into tensors and plain facts that can be written to a file."""
    tensors = {"/".join((*map(str, key), name)): w for key, fit in fits.items() for name, w in fit.weights.items()}
    facts = [[*key, fit.ridge, fit.error, fit.added] for key, fit in fits.items()]
    return Checkpoint(len(fits), tensors, {"fits": facts})


def from_checkpoint(checkpoint: Checkpoint) -> Fits:
    """Restores the fits that `as_checkpoint` packed."""
    found = {}
    for block, choice, span, ridge, error, added in checkpoint.facts["fits"]:
        key = Key(block, choice, span)
        prefix = "/".join((*map(str, key), ""))
        weights = {
            name.removeprefix(prefix): tensor for name, tensor in checkpoint.tensors.items() if name.startswith(prefix)
        }
        found[key] = Fit(weights, ridge, error, added)
    return found
