"""BatchNorm over the images of all processes, without replacing a module.

torch's own SyncBatchNorm is a module that takes a BatchNorm's place, and works on GPUs alone. Here, every call of
`functional.batch_norm` within `synced_batch_norm` uses the statistics of all processes, on any device, and the steps of
a site keep their modules.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@contextmanager
def synced_batch_norm() -> Iterator[None]:
    """Within this context, BatchNorms in training normalise by the mean and variance over all processes."""
    with _Synced():
        yield


def _sum_over_all(own: Tensor) -> Tensor:
    total: Tensor = _SumOverAll.apply(own)
    return total


class _SumOverAll(torch.autograd.Function):
    """Sums a tensor over all processes. The gradient of the sum is summed over them too."""

    @staticmethod
    def forward(_context: Any, own: Tensor) -> Tensor:
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


class _Synced(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        called = _batch_norm if func is functional.batch_norm else func
        return called(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`functional.batch_norm` of x (B, C, ...), with sums that are taken over all processes."""
    if not training:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    shape = [1, -1] + [1] * (x.ndim - 2)
    axes = [axis for axis in range(x.ndim) if axis != 1]
    wide = x.float()
    count = wide.new_tensor([wide.numel() / wide.shape[1]])
    # In two steps, as var = mean (x - mean)^2: the mean of squares less the square of the mean loses digits.
    sums = _sum_over_all(torch.cat([wide.sum(axes), count]))
    total = sums[-1].detach()
    mean = sums[:-1] / total
    centred = wide - mean.view(shape)
    variance = _sum_over_all((centred * centred).sum(axes)) / total
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            running_var.lerp_((variance * total / (total - 1)).to(running_var.dtype), momentum)
    y: Tensor = centred * torch.rsqrt(variance + eps).view(shape)
    if weight is not None:
        y = y * weight.view(shape)
    if bias is not None:
        y = y + bias.view(shape)
    return y.to(x.dtype)
