"""The held-out images of a run, which no training and no search has seen."""

import copy
from typing import Final

import torch
from torch import Tensor, nn

from depthfinder.pipeline.run import Run
from pruner.data.images import ImageData
from pruner.training.accuracy import accuracy

BATCH: Final = 128


def held_out_accuracy(run: Run, network: nn.Module) -> float:
    """The accuracy in [0, 1] on all of them, counted where the run trains."""
    on_device = copy.deepcopy(network).to(run.world.device)
    return accuracy(on_device, run.data.test_batches(batch_size=BATCH))


def held_out_images(data: ImageData, count: int) -> Tensor:
    """The first `count` of them, or all if there are fewer: (N, C, H, W)."""
    found: list[Tensor] = []
    for images, _ in data.test_batches(batch_size=BATCH):
        found.append(images)
        if sum(len(part) for part in found) >= count:
            break
    return torch.cat(found)[:count]
