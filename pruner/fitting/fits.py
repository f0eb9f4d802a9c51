"""Layers that were fitted, by the block, the choice and how many blocks they stand in for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pruner.choices.choice import DROP
from pruner.models.checkpoint import Checkpoint


class Key(NamedTuple):
    """Which layer: that of a `choice` in the place of `span` blocks, from `block` on."""

    block: str
    choice: str
    span: int = 1


@dataclass(frozen=True, eq=False)
class Fit:
    """The weights of a fitted layer, by their names in it, in float64.

    `error` is its mean squared error on images that took no part in the fit, as a share of what the blocks add to their
    input: 0 is exact, and at 1 the blocks might as well be dropped. `ridge` is what was chosen on these images, as a
    share of the features' mean variance. `added` is the mean square of what the blocks add, each place counting for as
    much as the answer depends on it, squared.
    """

    weights: Mapping[str, Tensor]
    ridge: float
    error: float
    added: float = 0.0

    @property
    def is_worse_than_dropping(self) -> bool:
        return not self.error < 1

    @torch.no_grad()
    def put_into(self, layer: nn.Module) -> None:
        """Gives the layer these weights, rounded once to its own kind of number."""
        layer.load_state_dict({**layer.state_dict(), **self.weights})


Fits = Mapping[Key, Fit]


def expected_harms(fits: Fits) -> dict[tuple[str, str], float]:
    """(block, choice) -> how far the answers may be expected to move if the block becomes that, next to other cuts:
    what the fit misses of what the block adds, or all of it where it is dropped."""
    alone = {(key.block, key.choice): fit for key, fit in fits.items() if key.span == 1}
    dropped = {(block, DROP): fit.added for (block, _), fit in alone.items()}
    return dropped | {cut: fit.error * fit.added for cut, fit in alone.items()}


def as_checkpoint(fits: Fits) -> Checkpoint:
    """All of them as tensors and plain facts, for a file."""
    tensors = {"/".join((*map(str, key), name)): w for key, fit in fits.items() for name, w in fit.weights.items()}
    facts = [[*key, fit.ridge, fit.error, fit.added] for key, fit in fits.items()]
    return Checkpoint(len(fits), tensors, {"fits": facts})


def from_checkpoint(checkpoint: Checkpoint) -> Fits:
    """What `as_checkpoint` made a file of."""
    found = {}
    for block, choice, span, ridge, error, added in checkpoint.facts["fits"]:
        key = Key(block, choice, span)
        prefix = "/".join((*map(str, key), ""))
        weights = {
            name.removeprefix(prefix): tensor for name, tensor in checkpoint.tensors.items() if name.startswith(prefix)
        }
        found[key] = Fit(weights, ridge, error, added)
    return found
