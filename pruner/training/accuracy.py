"""Measures accuracy, over as many processes as there are."""

from collections.abc import Iterable

import torch
from torch import nn

from pruner.algebra.answer import answer_of
from pruner.data.images import Batch
from pruner.training.world import World, alone


@torch.inference_mode()
def accuracy(network: nn.Module, batches: Iterable[Batch], world: World | None = None) -> float:
    """Returns the top-1 accuracy of a network over all images, in [0, 1].

    The network runs in evaluation mode, and is left in the mode that it was in.

    Args:
        network: The network; images are moved to its device.
        batches: Images (B, C, H, W) and labels (B,), of which each process brings its own part.
        world: The processes whose counts are summed; None for this one alone.

    Raises:
        ValueError: when no process has any image.
        PeerLostError: when another process is gone.
    """
    was_training = network.training
    network.eval()
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    hits = images_seen = 0
    for images, labels in batches:
        hits += int((answer_of(network(images.to(device))).argmax(dim=1).cpu() == labels).sum())
        images_seen += len(labels)
    network.train(was_training)
    counts = (world or alone()).sum(torch.tensor([hits, images_seen]))
    if not counts[1]:
        raise ValueError("there are no images to count right answers on")
    return float(counts[0].double() / counts[1])
