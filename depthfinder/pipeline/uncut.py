"""The network that a run was asked for, with the weights that it came with."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from depthfinder.config.model import ModelConfig
from pruner.models.load import load_model_and_source
from pruner.models.weights_fit import LoadedWeights


@dataclass(frozen=True)
class Uncut:
    """A network before any cut and any training.

    Attributes:
        name: The name that it was asked for by.
        network: The network, which is never changed.
        weights: Where its weights are from; None for those drawn at random.
        made_with: The arguments that it was made with, the number of classes among them.
    """

    name: str
    network: nn.Module
    weights: LoadedWeights | None
    made_with: Mapping[str, Any]

    @classmethod
    def of(cls, asked: ModelConfig, num_classes: int | None, seed: int) -> "Uncut":
        """Loads the network that was asked for.

        Args:
            asked: Its name, its arguments and its weights.
            num_classes: How many classes the images have, which the network then has too unless its arguments say
                otherwise; None where this is not known.
            seed: The seed of weights that are drawn at random.
        """
        kwargs = ({} if num_classes is None else {"num_classes": num_classes}) | asked.kwargs
        torch.manual_seed(seed)
        network, weights = load_model_and_source(
            asked.model,
            pretrained=asked.pretrained,
            checkpoint=Path(asked.checkpoint) if asked.checkpoint else None,
            checkpoint_img_size=asked.checkpoint_img_size,
            **kwargs,
        )
        return cls(asked.model, network, weights, kwargs)

    @cached_property
    def digest(self) -> str:
        """A digest of the names, shapes and values of the weights."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:12]
