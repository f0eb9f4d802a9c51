"""The bounds of `rounding` hold where errors are known, and are not so wide that they allow anything."""

from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import rounding
from networks import images_for, made, relative_error
from pruner.network.surgery import apply, describe, merge


@given(st.integers(2, 300), st.integers(0, 1000))
def test_no_order_of_adding_up_leaves_the_bound_of_a_sum(count: int, seed: int) -> None:
    random = Random(seed)
    numbers = [random.uniform(-1, 1) * 2 ** random.randint(-20, 20) for _ in range(count)]
    bound = rounding.of_a_sum(count, sum(map(abs, numbers)), torch.float64)
    sums = []
    for _ in range(5):
        random.shuffle(numbers)
        total = 0.0
        for number in numbers:  # one after the other: `sum` compensates for what it rounds since Python 3.12
            total += number
        sums.append(total)
    assert max(sums) - min(sums) <= bound


@pytest.mark.parametrize("shape", ["deit", "basic", "inverted residual", "convnext"])
def test_a_network_in_float32_is_within_its_bound_and_a_coarser_one_is_not(shape: str) -> None:
    model = made(shape, 0)
    cut = apply(model, describe(model).random_plan(0.6, Random(0)))
    cut.set_lambda(0.0)
    network, images = merge(cut), images_for(model, torch.float32)
    bound = rounding.of_a_network(network, images)
    with torch.no_grad():
        exact = network.double()(images.double())
        single = network.float()(images)
        coarse = network.bfloat16()(images.bfloat16())
    assert relative_error(single.double(), exact) < bound / 4, "the room that other processors are left"
    assert relative_error(coarse.double(), exact) > bound


def test_the_bound_grows_with_what_a_layer_magnifies() -> None:
    """A difference of two nearly equal numbers is rounded as they are: a thousand times as much, relative to itself."""
    images = torch.tensor([[1.0, 0.999]])
    layer = nn.Linear(2, 1, bias=False)
    nn.init.ones_(layer.weight)
    plain = rounding.of_a_network(layer, images)
    with torch.no_grad():
        layer.weight[0, 1] = -1.0
    cancelling = rounding.of_a_network(layer, images)
    assert 300 < cancelling / plain < 10_000
