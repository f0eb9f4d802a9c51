"""BatchNorm statistics from data: what a network is left with when that fails on the way."""

import pytest
import torch
from torch import nn

from networks import made
from pruner.network.calibration import calibrate
from pruner.network.surgery import apply, describe


def test_a_batch_that_does_not_run_leaves_no_hook_behind() -> None:
    model = made("deit", 0)
    chain = describe(model)
    cut = apply(model, chain.plan({block.name: "merge" for block in chain.blocks if "merge" in block.choices}))
    images = torch.randn(2, *chain.input_size, generator=torch.Generator().manual_seed(0))
    with pytest.raises((AssertionError, RuntimeError)):
        calibrate(cut, [images, images[:, :1]])
    assert not [
        hook for module in cut.modules() if isinstance(module, nn.BatchNorm1d) for hook in module._forward_pre_hooks
    ]
