"""Learning block by block: layers that stand in for blocks learn the blocks' outputs, besides the network's answers."""

from typing import Any

import torch
from torch import Tensor, nn

from pruner.choices.choice import DROP, FITS
from pruner.fitting.spans import followers_of, span_of
from pruner.network.surgery import Cut
from pruner.training.objective import Teaching

_TINY = 1e-12


class BlockTeaching(Teaching):
    """How far a network is from its teacher, in its answers and in the outputs of the blocks that became layers.

    The loss is that of `Teaching`, plus `block_weight` times the mean over the layers of |y - y'|^2 / |y'|^2. Here y is
    the output of a layer and y' that of the teacher's block, both over the batch. For a layer that stands in for a span
    of blocks, y' is the output of the last one.

    Args:
        cut: The network of a plan, which learns. It gets hooks that note the outputs of its layers.
        teacher: The uncut network, frozen, as `light_copy` gives it. It gets such hooks too.
        temperature: What both networks' logits are divided by before their answers are compared.
        weight: The factor on the distance of the answers.
        block_weight: The factor on the distance of the blocks' outputs.
    """

    def __init__(
        self, cut: Cut, teacher: nn.Module, temperature: float = 2.0, weight: float = 1.0, block_weight: float = 1.0
    ) -> None:
        super().__init__(teacher, temperature, weight)
        self.block_weight = block_weight
        self._found: dict[str, Tensor] = {}
        self._taught: dict[str, Tensor] = {}
        for block, end in taught_blocks(cut).items():
            # The dropped blocks of a span hand on what its first block gives.
            cut.sites[block].register_forward_hook(_noting(self._found, block))
            teacher.get_submodule(end).register_forward_hook(_noting(self._taught, block))

    def forward(self, images: Tensor, logits: Tensor) -> Tensor:
        """Returns the loss of one batch.

        Args:
            images: (B, C, H, W), which the learning network has just run on.
            logits: (B, classes), what it answered.
        """
        loss = super().forward(images, logits)
        if not self._taught:
            return loss
        off = [_off(self._found[block], taught) for block, taught in self._taught.items()]
        return loss + self.block_weight * torch.stack(off).mean()


def taught_blocks(cut: Cut) -> dict[str, str]:
    """Returns the blocks whose outputs are learnt, each with the block of the teacher that it learns from.

    These are the blocks of the plan that are not dropped. A fitted layer learns from the last block of its span, every
    other from the block itself.
    """
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
