"""Counting right answers, over as many processes as there are."""

from collections.abc import Iterable

import torch
from torch import nn

from pruner.data.images import Batch
from pruner.training.world import World, alone


@torch.inference_mode()
def accuracy(network: nn.Module, batches: Iterable[Batch], world: World | None = None) -> float:
    """Top-1 accuracy in [0, 1] over all images of `batches`, in evaluation mode.

    Each process of a `world` brings its own part of the images; the counts are summed. Raises `ValueError` when there
    are no images.
    """
    was_training = network.training
    network.eval()
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    hits = images_seen = 0
    for images, labels in batches:
        hits += int((network(images.to(device)).argmax(dim=1).cpu() == labels).sum())
        images_seen += len(labels)
    network.train(was_training)
    counts = (world or alone()).sum(torch.tensor([hits, images_seen]))
    if not counts[1]:
        raise ValueError("there are no images to count right answers on")
    return float(counts[0].double() / counts[1])
