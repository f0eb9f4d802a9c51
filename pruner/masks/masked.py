"""A network under masks: its own modules, run with weights that are multiplied by the masks of the moment."""

import copy
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pruner.masks.channels import without_channels
from pruner.masks.granularity import Granularity
from pruner.masks.methods.method import Method

DECIDED: Final = 1_000_000
"""The phase in which the masks are hard and stay what they are."""


class Masked(nn.Module):
    """A copy of a model, the masks that a method puts on it, and all that the method remembers.

    Nothing in the network is replaced: `forward` runs it with the masked parameters in the place of its own. `masks`
    are the numbers that a method learns beside the weights, `supports` the hard masks as they were last decided,
    `memory` what else a method goes by. All of it is in the state, so that a training can be left and taken up again.
    """

    phase: Tensor

    def __init__(self, model: nn.Module, granularity: Granularity, sparsity: float | None, method: Method) -> None:
        """Raises `SettingsError` when the model cannot be masked so, or that much cannot go."""
        super().__init__()
        self.granularity = granularity
        self.method = method
        self.parts = granularity.parts(model)
        self.selection = granularity.selection(self.parts, sparsity)
        self.searched: float | None = None
        """How much of the search is over: what the soft masks go by; None for the supports."""
        self.network = copy.deepcopy(model)
        self.mask_lr_scale = method.mask_lr_scale
        self.masks = nn.ParameterDict(method.initial_masks(self))
        self.supports = nn.Module()
        self.memory = nn.Module()
        for part in self.parts:
            everything = torch.ones(part.entries, dtype=torch.bool, device=self.weights()[part.key].device)
            self.supports.register_buffer(part.key, everything)
        for name, tensor in method.memory(self).items():
            self.memory.register_buffer(name, tensor)
        self.register_buffer("phase", torch.zeros((), dtype=torch.long))

    def forward(self, images: Tensor) -> Tensor:
        hard = self.searched is None
        masks = self.support() if hard else self.method.masks(self, self.searched or 0.0)
        logits: Tensor = functional_call(self.network, self.masked_parameters(masks), (images,))
        return logits

    def masked_parameters(self, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameter -> its values times the mask: part -> (entries,)."""
        parameters = dict(self.network.named_parameters())
        return {
            name: parameters[name] * factor.to(parameters[name].dtype)
            for part in self.parts
            for name, factor in part.spread(masks[part.key]).items()
        }

    def weights(self) -> dict[str, Tensor]:
        """Part -> the weight that its groups are of."""
        return {part.key: self.network.get_parameter(part.weight) for part in self.parts}

    def magnitudes(self) -> dict[str, Tensor]:
        """Part -> (entries,): the L2 norm of each group over the square root of its size."""
        weights = self.weights()
        with torch.no_grad():
            return {part.key: part.magnitudes(weights[part.key]) for part in self.parts}

    def support(self) -> dict[str, Tensor]:
        """Part -> (entries,) bool: the hard masks as they were last decided; before that, everything."""
        return {part.key: self.supports.get_buffer(part.key) for part in self.parts}

    def decide(self, chosen: Mapping[str, Tensor]) -> None:
        """Makes these the hard masks."""
        for key, mask in self.support().items():
            mask.copy_(chosen[key])

    @torch.no_grad()
    def project(self) -> None:
        """Sets to zero what the supports leave out."""
        for name, masked in self.masked_parameters(self.support()).items():
            self.network.get_parameter(name).copy_(masked)

    @torch.no_grad()
    def enter(self, phase: int) -> None:
        """Does what is to be done when a phase begins, if it was not done."""
        if int(self.phase) == phase:
            return
        if phase == DECIDED:
            self.decide(self.selection.hard(self.method.scores(self)))
        else:
            self.method.enter(self, phase)
        self.phase.fill_(phase)

    @torch.no_grad()
    def hardened(self) -> nn.Module:
        """The network alone, in evaluation, its parameters multiplied by the hard masks: zeros where groups went."""
        assert int(self.phase) == DECIDED, "masks are decided before the network is handed over"
        network = copy.deepcopy(self.network).eval()
        for name, masked in self.masked_parameters(self.support()).items():
            network.get_parameter(name).copy_(masked)
        return network

    def removed(self) -> nn.Module:
        """The network without the channels that are masked, in evaluation: smaller, and computing the same."""
        assert not self.granularity.keeps_its_shape, "only channels can be removed"
        assert int(self.phase) == DECIDED, "masks are decided before the network is handed over"
        return without_channels(self.network, self.support()).eval()

    def sparsities(self) -> dict[str, float]:
        """Layer -> the share of its groups that the supports leave out."""
        return {
            part.weight.removesuffix(".weight"): 1 - float(mask.float().mean())
            for part, mask in zip(self.parts, self.support().values(), strict=True)
        }
