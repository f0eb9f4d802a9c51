"""A network under masks: it runs with its weights multiplied by the present masks."""

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
    """A copy of a network, with the masks that a method puts on it and all that the method remembers.

    No module of the network is replaced: `forward` runs it with masked parameters in place of its own. All that a
    method needs is in the state, so a training can be interrupted and resumed.

    Attributes:
        network: The copy of the network, with its weights unmasked.
        parts: What the masks cover, part by part.
        selection: How many groups stay.
        masks: The numbers that the method learns beside the weights, by part.
        supports: The hard masks as they were last decided, by part.
        memory: Other tensors that the method keeps.
        phase: The phase of the search, or `DECIDED`.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> from pruner.masks.granularity import parse
        >>> from pruner.masks.masked import DECIDED, Masked
        >>> from pruner.masks.methods import known_method
        >>> masked = Masked(small_network(), parse("2:4"), None, known_method("magnitude"))
        >>> masked.enter(DECIDED)
        >>> masked.sparsities()["blocks.0.mlp.fc1"]
        0.5
    """

    phase: Tensor

    def __init__(self, model: nn.Module, granularity: Granularity, sparsity: float | None, method: Method) -> None:
        """Copies `model` and sets its masks to their initial values.

        Args:
            model: The network to mask; it is left alone.
            granularity: What one entry of a mask covers.
            sparsity: The share of the groups to remove, in (0, 1); None for the share that the granularity implies.
            method: What finds the groups to remove.

        Raises:
            SettingsError: when the network cannot be masked so, or that share cannot be removed.
        """
        super().__init__()
        self.granularity = granularity
        self.method = method
        self.parts = granularity.parts(model)
        self.selection = granularity.selection(self.parts, sparsity)
        self.searched: float | None = None
        """How much of the search is over, in [0, 1]; None to run with the hard masks."""
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
        """Runs images (B, C, H, W) under the soft masks of the search, or under the hard masks where `searched` is
        None."""
        hard = self.searched is None
        masks = self.support() if hard else self.method.masks(self, self.searched or 0.0)
        logits: Tensor = functional_call(self.network, self.masked_parameters(masks), (images,))
        return logits

    def masked_parameters(self, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Multiplies the parameters by masks.

        Args:
            masks: Part -> (entries,).

        Returns:
            The name of every parameter that is masked -> its masked values.
        """
        parameters = dict(self.network.named_parameters())
        return {
            name: parameters[name] * factor.to(parameters[name].dtype)
            for part in self.parts
            for name, factor in part.spread(masks[part.key]).items()
        }

    def weights(self) -> dict[str, Tensor]:
        """Part -> the weight whose numbers its groups hold."""
        return {part.key: self.network.get_parameter(part.weight) for part in self.parts}

    def magnitudes(self) -> dict[str, Tensor]:
        """Part -> (entries,): the root mean square of the weights in each group."""
        weights = self.weights()
        with torch.no_grad():
            return {part.key: part.magnitudes(weights[part.key]) for part in self.parts}

    def support(self) -> dict[str, Tensor]:
        """Part -> (entries,) bool: the hard masks as they were last decided; all true before that."""
        return {part.key: self.supports.get_buffer(part.key) for part in self.parts}

    def decide(self, chosen: Mapping[str, Tensor]) -> None:
        """Sets the hard masks: part -> (entries,)."""
        for key, mask in self.support().items():
            mask.copy_(chosen[key])

    @torch.no_grad()
    def project(self) -> None:
        """Sets the weights to zero that the hard masks leave out."""
        for name, masked in self.masked_parameters(self.support()).items():
            self.network.get_parameter(name).copy_(masked)

    @torch.no_grad()
    def enter(self, phase: int) -> None:
        """Begins a phase of the search, or decides the hard masks for good when `phase` is `DECIDED`.

        Does nothing when that phase has begun already.
        """
        if int(self.phase) == phase:
            return
        if phase == DECIDED:
            self.decide(self.selection.hard(self.method.scores(self)))
        else:
            self.method.enter(self, phase)
        self.phase.fill_(phase)

    @torch.no_grad()
    def hardened(self) -> nn.Module:
        """A copy of the network in evaluation mode, with zeros where groups were removed. The masks have to be
        decided."""
        assert int(self.phase) == DECIDED, "masks are decided before the network is handed over"
        network = copy.deepcopy(self.network).eval()
        for name, masked in self.masked_parameters(self.support()).items():
            network.get_parameter(name).copy_(masked)
        return network

    def removed(self) -> nn.Module:
        """A smaller network in evaluation mode, without the masked channels, that computes the same.

        The masks have to be decided, and the granularity has to be channels.
        """
        assert not self.granularity.keeps_its_shape, "only channels can be removed"
        assert int(self.phase) == DECIDED, "masks are decided before the network is handed over"
        return without_channels(self.network, self.support()).eval()

    def sparsities(self) -> dict[str, float]:
        """Layer -> the share of its groups that the hard masks leave out."""
        return {
            part.weight.removesuffix(".weight"): 1 - float(mask.float().mean())
            for part, mask in zip(self.parts, self.support().values(), strict=True)
        }
