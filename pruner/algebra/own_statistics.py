"""BatchNorms of a weight-sharing network that keep statistics of their own for every way a block may be cut.

The input of a BatchNorm in a block changes with the choice for that block: a running mean over all choices would be
right for none of them (separate statistics over shared weights: Yu et al., "Slimmable Neural Networks", ICLR 2019).
"""

import copy
import dataclasses
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from pruner.algebra.steps import BatchNorm, Step


class OwnStatistics(nn.BatchNorm2d):
    """A BatchNorm with the factors and offsets of another one, and with running statistics of its own.

    The statistics begin as those of the other BatchNorm.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        weight = norm.running_mean
        assert weight is not None, "a BatchNorm that folds has running statistics"
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, affine=False, device=weight.device, dtype=weight.dtype
        )
        self._norm = (norm,)  # in a tuple: its weights are not this module's
        self.load_state_dict({name: tensor.clone() for name, tensor in norm.named_buffers()})

    def forward(self, x: Tensor) -> Tensor:
        """Normalises images (B, C, H, W); in training mode it updates its own statistics."""
        assert self.running_mean is not None
        assert self.num_batches_tracked is not None
        (norm,) = self._norm
        share = self.momentum or 0.0
        if self.training:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # a plain mean over all batches
                share = 1 / float(self.num_batches_tracked)
        mean, variance = self.running_mean, self.running_var
        return functional.batch_norm(x, mean, variance, norm.weight, norm.bias, self.training, share, self.eps)

    def as_batch_norm(self) -> nn.BatchNorm2d:
        """Returns a plain BatchNorm that computes the same, with weights of its own."""
        (norm,) = self._norm
        alone = nn.BatchNorm2d(self.num_features, self.eps, self.momentum, affine=norm.affine)
        alone = alone.to(norm.running_mean)
        alone.load_state_dict({**copy.deepcopy(norm.state_dict()), **self.state_dict()})
        return alone


def separated(steps: Sequence[Step], own: nn.ModuleList) -> tuple[Step, ...]:
    """Returns the steps with BatchNorm statistics of their own.

    Args:
        steps: The steps of a branch or a shortcut; every BatchNorm among them that folds is replaced.
        own: Takes the new modules, so that they are registered in the network.
    """
    found: list[Step] = []
    for step in steps:
        if isinstance(step, BatchNorm) and step.why_not is None:
            own.append(OwnStatistics(step.norm))
            step = dataclasses.replace(step, own=own[-1])
        found.append(step)
    return tuple(found)
