"""Learning block by block: what stands in for blocks learns their output, besides the network's answers."""

from typing import Any

import torch
from torch import Tensor, nn

from pruner.choices.choice import DROP, FITS
from pruner.fitting.spans import followers_of, span_of
from pruner.network.surgery import Cut
from pruner.training.objective import Teaching

_TINY = 1e-12


class BlockTeaching(Teaching):
    """A teacher's answers, and of each block that became a layer how far its output is from the teacher's block's:
    |y - y'|^2 / |y'|^2 over the batch, in the mean over these blocks, times `block_weight`.

    The teacher is the uncut network, as `light_copy` gives it. Of a span it is the last block's output that counts.
    """

    def __init__(
        self, cut: Cut, teacher: nn.Module, temperature: float = 2.0, weight: float = 1.0, block_weight: float = 1.0
    ) -> None:
        super().__init__(teacher, temperature, weight)
        self.block_weight = block_weight
        self._found: dict[str, Tensor] = {}
        self._taught: dict[str, Tensor] = {}
        for block, end in taught_blocks(cut).items():
            # What a span's first block gives, the dropped ones behind it hand on.
            cut.sites[block].register_forward_hook(_noting(self._found, block))
            teacher.get_submodule(end).register_forward_hook(_noting(self._taught, block))

    def forward(self, images: Tensor, logits: Tensor) -> Tensor:
        loss = super().forward(images, logits)
        if not self._taught:
            return loss
        off = [_off(self._found[block], taught) for block, taught in self._taught.items()]
        return loss + self.block_weight * torch.stack(off).mean()


def taught_blocks(cut: Cut) -> dict[str, str]:
    """Every block of the plan that became a layer, and the last block that the layer stands in for."""
    followers, plan = followers_of(cut), cut.plan
    found = {}
    for block, choice in plan.choices.items():
        span = span_of(plan, block, followers) if choice in FITS else 1
        if choice != DROP:
            found[block] = (block, *followers.get(block, ()))[span - 1]
    return found


def _noting(into: dict[str, Tensor], block: str) -> Any:
    def note(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        into[block] = output

    return note


def _off(found: Tensor, taught: Tensor) -> Tensor:
    return (found - taught).square().sum() / taught.square().sum().clamp(min=_TINY)
