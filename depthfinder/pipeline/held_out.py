"""Judges networks by the held-out images, which no training and no search has seen."""

import copy
from typing import Final

import torch
from torch import Tensor, nn

from pruner.data.images import ImageData
from pruner.training.accuracy import accuracy

BATCH: Final = 128


def held_out_accuracy(network: nn.Module, data: ImageData, device: torch.device) -> float:
    """Returns the top-1 accuracy in [0, 1] on all held-out images.

    Args:
        network: The network, which is copied to the device.
        data: The images.
        device: Where the network runs.
    """
    on_device = copy.deepcopy(network).to(device)
    return accuracy(on_device, data.test_batches(batch_size=BATCH))


def held_out_images(data: ImageData, count: int) -> Tensor:
    """Returns the first `count` held-out images, or all if there are fewer: (N, C, H, W)."""
    found: list[Tensor] = []
    for images, _ in data.test_batches(batch_size=BATCH):
        found.append(images)
        if sum(len(part) for part in found) >= count:
            break
    return torch.cat(found)[:count]
