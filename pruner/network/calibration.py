"""BatchNorm statistics from data: calibration before the gates move, and fresh estimates at any time."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from pruner.algebra.modules import only_training
from pruner.network.surgery import OpenNetwork

BatchNorms = nn.modules.batchnorm._BatchNorm


@torch.no_grad()
def calibrate(network: OpenNetwork, batches: Iterable[Tensor]) -> None:
    """Calibrates every new BatchNorm of the selected choices, in place, so that it is nearest to the norm it replaces.

    The network runs as it is selected, which should be at lambda 1. Each new BatchNorm gets the statistics of its
    input x, and for each channel the factor and the offset that bring it nearest to the old norm's output n in least
    squares: gamma / sqrt(var + eps) = cov(x, n) / var(x), beta = mean(n). So a switch starts near the baseline.

    Args:
        network: An opened network with its choices selected, such as a `Cut`.
        batches: Images (B, C, H, W), normalised as the network is given them.
    """
    switches = [switch for site in network.sites.values() for switch in site.switches()]
    if not switches:
        return
    moments = [_Moments() for _ in switches]
    with ExitStack() as hooks, only_training(network, [switch.batch_norm for switch in switches]):
        for switch, seen in zip(switches, moments, strict=True):
            hooks.enter_context(
                switch.batch_norm.register_forward_pre_hook(
                    lambda _, inputs, switch=switch, seen=seen: seen.add(inputs[0], switch.stands_for(inputs[0]))
                )
            )
        for images in batches:
            network(images)
    for switch, seen in zip(switches, moments, strict=True):
        seen.give(switch.batch_norm)


@torch.no_grad()
def estimate_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Sets the running statistics of every BatchNorm to the plain mean over `batches`, in place.

    Args:
        network: Any network; it runs in evaluation mode but for its BatchNorms.
        batches: Images (B, C, H, W), normalised as the network is given them.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from pruner.network.calibration import estimate_batch_norm
        >>> norm = nn.BatchNorm2d(1)
        >>> estimate_batch_norm(norm, [torch.full((2, 1, 4, 4), 3.0), torch.full((2, 1, 4, 4), 5.0)])
        >>> norm.running_mean
        tensor([4.])
    """
    with estimating_batch_norm(network):
        for images in batches:
            network(images)


@contextmanager
def estimating_batch_norm(network: nn.Module) -> Iterator[None]:
    """A context in which every batch that runs through `network` counts for its BatchNorm statistics.

    At the beginning the running statistics are reset; at the end they are the plain mean over the batches. The network
    is in evaluation mode but for its BatchNorms.
    """
    norms = [module for module in network.modules() if isinstance(module, BatchNorms)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean in place of a moving one
    try:
        with only_training(network, norms):
            yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


class _Moments:
    """Sums over all places of a channel, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Tensor = torch.zeros(())

    def add(self, x: Tensor, n: Tensor) -> None:
        """`x` and `n` are tokens (N, C) or images (B, C, H, W)."""
        flat_x, flat_n = (values.double().movedim(1, 0).flatten(1) for values in (x, n))
        self.count += flat_x.shape[1]
        sums = [flat_x.sum(1), flat_n.sum(1), (flat_x * flat_x).sum(1), (flat_x * flat_n).sum(1)]
        self.sums = self.sums.to(x.device) + torch.stack(sums)

    def give(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean_x, mean_n, square, product = self.sums / self.count
        variance = (square - mean_x * mean_x).clamp(min=0)
        # For a channel that hardly varies beside its mean, these sums are too coarse to give a slope.
        varies = variance > 1e-9 * square
        slope = torch.where(varies, (product - mean_x * mean_n) / variance.where(varies, square.new_ones(())), 0)
        norm.running_mean.copy_(mean_x)
        norm.running_var.copy_(variance)
        norm.weight.copy_(slope * torch.sqrt(variance + norm.eps))
        norm.bias.copy_(mean_n)
