"""The algebra of merging, against torch's own convolutions, over random shapes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from networks import relative_error
from pruner.algebra import affine
from pruner.algebra.affine import Affine
from pruner.algebra.branch import fold, reach, run_padded_once
from pruner.algebra.steps import Activation, BatchNorm, Convolution, Fading, Scale, Step, run_in_turn

CHANNELS = 8
LARGEST_KERNEL = 25


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(CHANNELS, dtype=torch.float64))


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    conv = nn.Conv2d(
        CHANNELS,
        CHANNELS,
        size,
        stride=draw(st.integers(1, 3)),
        padding=padding,
        dilation=draw(st.integers(1, 2)),
        groups=draw(st.sampled_from([1, 2, 4, 8])),
        bias=draw(st.booleans()),
        dtype=torch.float64,
    )
    return Convolution(conv)


@st.composite
def norms(draw: st.DrawFn) -> BatchNorm:
    affine = draw(st.booleans())
    norm = nn.BatchNorm2d(CHANNELS, eps=draw(st.sampled_from([1e-5, 1e-3, 0.1])), affine=affine, dtype=torch.float64)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.3, 3)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return BatchNorm(norm.eval())


def branches() -> st.SearchStrategy[list[Step]]:
    others = st.sampled_from([Activation(nn.GELU()), Activation(nn.ReLU6()), Scale(Scaled(), on_images=True)])
    more = st.lists(st.one_of(convolutions(), norms(), others), min_size=1, max_size=6)
    return st.tuples(convolutions(), more).map(lambda both: [both[0], *both[1]])


def images(seed: int, height: int, width: int) -> Tensor:
    return torch.randn(2, CHANNELS, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


sizes = st.tuples(st.integers(0, 10_000), st.integers(28, 50), st.integers(28, 50))


def run(mapped: Affine, x: Tensor) -> Tensor:
    return functional.conv2d(x, mapped.kernel, mapped.bias, mapped.stride, mapped.padding, 1, mapped.groups)


@settings(max_examples=40, deadline=None)
@given(branches(), sizes)
def test_a_branch_at_lambda_zero_is_its_fold_borders_included(steps: list[Step], size: tuple[int, int, int]) -> None:
    x = images(*size)
    if not _fits(steps, x):
        return
    with torch.no_grad():
        assert relative_error(run(fold(steps), x), run_padded_once(steps, x, 0.0)) <= 1e-10


@settings(max_examples=40, deadline=None)
@given(branches(), sizes)
def test_a_branch_at_lambda_one_is_the_baseline_borders_included(steps: list[Step], size: tuple[int, int, int]) -> None:
    x = images(*size)
    if not _fits(steps, x):
        return
    with torch.no_grad():
        baseline = run_in_turn(steps, x, 1.0)
        assert relative_error(run_padded_once(steps, x, 1.0), baseline) <= 1e-10
        assert run_padded_once(steps, x, 0.5).shape == baseline.shape


@settings(max_examples=30, deadline=None)
@given(branches(), branches(), sizes)
def test_branches_of_equal_reach_give_images_of_equal_size(
    one: list[Step], other: list[Step], size: tuple[int, int, int]
) -> None:
    x = images(*size)
    if not (_fits(one, x) and _fits(other, x)) or reach(one) != reach(other):
        return
    assert run_in_turn(one, x, 1.0).shape == run_in_turn(other, x, 1.0).shape


@settings(max_examples=40, deadline=None)
@given(st.lists(convolutions(), min_size=2, max_size=4), sizes)
def test_the_order_of_folding_changes_nothing(steps: list[Step], size: tuple[int, int, int]) -> None:
    x = images(*size)
    if not _fits(steps, x):
        return
    with torch.no_grad():
        maps = [affine.of_layer(step.conv) for step in steps if isinstance(step, Convolution)]
        left = maps[0]
        for mapped in maps[1:]:
            left = left.then(mapped)
        right = maps[-1]
        for mapped in maps[-2::-1]:
            right = mapped.then(right)
        best = affine.composition(maps)
        assert left.kernel.shape == right.kernel.shape == best.kernel.shape
        torch.testing.assert_close(left.kernel, right.kernel, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(left.kernel, best.kernel, rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 3, 5]), st.sampled_from([1, 2]), sizes)
def test_a_sum_of_maps_is_the_sum_of_what_they_give(
    groups: int, side: int, stride: int, size: tuple[int, int, int]
) -> None:
    x = images(*size)
    wide = nn.Conv2d(CHANNELS, CHANNELS, 5, stride, 2, groups=groups, dtype=torch.float64)
    narrow = nn.Conv2d(CHANNELS, CHANNELS, side, stride, side // 2, dtype=torch.float64)
    with torch.no_grad():
        both = affine.of_layer(narrow).plus(affine.of_layer(wide))
        assert relative_error(run(both, x), wide(x) + narrow(x)) <= 1e-10


def test_maps_that_differ_in_size_have_no_sum() -> None:
    unpadded = affine.of_layer(nn.Conv2d(CHANNELS, CHANNELS, 3))
    padded = affine.of_layer(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1))
    with pytest.raises(affine.FoldError, match="maps that differ"):
        unpadded.plus(padded)


def test_what_fades_is_gone_at_zero_and_whole_at_one() -> None:
    torch.manual_seed(0)
    inner = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, dtype=torch.float64)
    outer = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, stride=2, dtype=torch.float64)
    steps = [Convolution(outer), Fading((Convolution(inner),))]
    x = images(0, 21, 30)
    with torch.no_grad():
        assert torch.equal(run_padded_once(steps, x, 0.0), outer(x))
        assert relative_error(run_padded_once(steps, x, 1.0), inner(outer(x))) <= 1e-12
        assert relative_error(run(fold(steps), x), outer(x)) <= 1e-12


def test_convolutions_of_other_strides_have_other_texts() -> None:
    """A latency table tells them apart by these."""
    settings = [{}, {"stride": 2}, {"stride": (2, 1)}, {"stride": (1, 2)}, {"dilation": 2}, {"dilation": (1, 2)}]
    texts = [Convolution(nn.Conv2d(4, 8, 3, **one)).text for one in settings]  # type: ignore[arg-type]
    assert texts == [
        *("conv3x3 4>8", "conv3x3/2 4>8", "conv3x3/2x1 4>8", "conv3x3/1x2 4>8"),
        *("conv3x3 dilation=2 4>8", "conv3x3 dilation=1x2 4>8"),
    ]


def test_a_merged_layer_has_as_many_groups_as_its_steps_allow() -> None:
    def grouped(groups: int) -> Affine:
        return affine.of_layer(nn.Conv2d(CHANNELS, CHANNELS, 3, groups=groups))

    assert grouped(8).then(grouped(4)).groups == 4
    assert grouped(4).then(grouped(8)).groups == 4
    assert grouped(8).then(grouped(8)).groups == 8
    assert grouped(8).then(grouped(1)).groups == 1


def _fits(steps: list[Step], x: Tensor) -> bool:
    """Whether every convolution gets an image at least as large as its kernel, and the merged kernel is of a size that
    a network might have: strides multiply, and seven convolutions in a row may come to one of thousands of pixels."""
    jump, side = [1, 1], [1, 1]
    for step in steps:
        if isinstance(step, Convolution):
            conv = step.conv
            for axis in (0, 1):
                padding = conv.padding[axis]
                assert isinstance(padding, int)
                reach_of_one = conv.dilation[axis] * (conv.kernel_size[axis] - 1)
                if x.shape[2 + axis] + 2 * padding < reach_of_one + 1:
                    return False
                side[axis] += reach_of_one * jump[axis]
                jump[axis] *= conv.stride[axis]
        with torch.no_grad():
            x = step.run(x, 1.0)
    return max(side) <= LARGEST_KERNEL
