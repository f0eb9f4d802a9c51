"""What mask entries stand for, which groups are chosen, and how soft masks are over time."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pruner.errors import SettingsError
from pruner.gates.temperature import Falling, Fixed
from pruner.masks.granularity import Blocks, Channels, NOfM, parse
from pruner.masks.layers import maskable
from pruner.masks.parts import BlockPart, ChannelPart, GroupedPart, Part
from pruner.masks.selection import Globally, Within, globally
from pruner.masks.topk import soft_topk
from pruner.models.load import load_model

SIDES = st.integers(1, 5)


def regions(part: Part, shape: tuple[int, ...]) -> Tensor:
    """(entries, *shape): where each group lies."""
    return torch.stack([part.spread(one)[part.weight].expand(shape) for one in torch.eye(part.entries)])


def check(part: Part, shape: tuple[int, ...]) -> None:
    """Groups cover a weight once, and their means and magnitudes are those of what they cover."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    where = regions(part, shape)
    assert torch.equal(where.sum(0), torch.ones(shape))
    inside = [weight[one.bool()] for one in where]
    torch.testing.assert_close(part.mean(weight), torch.stack([some.mean() for some in inside]))
    sizes = torch.stack([some.norm() / math.sqrt(len(some)) for some in inside])
    torch.testing.assert_close(part.magnitudes(weight), sizes)


@settings(deadline=None, max_examples=20)
@given(st.tuples(SIDES, SIDES, SIDES, SIDES) | st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES, SIDES, SIDES))
def test_blocks_cover_a_weight_once_ragged_edges_too(shape: tuple[int, ...], sides: tuple[int, ...]) -> None:
    part = BlockPart("w", shape, sides[: len(shape)])
    check(part, shape)
    for one in regions(part, shape):
        extent = one.nonzero()
        assert all((extent.amax(0) - extent.amin(0)) < torch.tensor(part.sides))


@settings(deadline=None, max_examples=20)
@given(st.tuples(SIDES, SIDES, SIDES), st.integers(2, 4))
def test_neighbours_lie_beside_each_other_along_the_inputs(rest: tuple[int, int, int], size: int) -> None:
    shape = (rest[0], 2 * size, *rest[1:])
    part = GroupedPart("w", shape, size)
    check(part, shape)
    groups = regions(part, shape).reshape(-1, size, *shape).sum(1)
    for group in groups:
        places = group.nonzero()
        assert places[:, 1].tolist() == list(range(int(places[0, 1]), int(places[0, 1]) + size))
        assert int(places[0, 1]) % size == 0
        assert (places[:, [0, 2, 3]] == places[0, [0, 2, 3]]).all()


def test_channels_are_the_rows_of_all_that_makes_them() -> None:
    part = ChannelPart("a.weight", 3, (("a.weight", 4), ("a.bias", 1), ("b.weight", 1)), ("a", "b"))
    check(part, (3, 2, 3, 3))
    factors = part.spread(torch.tensor([1.0, 0.0, 0.5]))
    assert [tuple(factor.shape) for factor in factors.values()] == [(3, 1, 1, 1), (3,), (3,)]
    assert factors["b.weight"].tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize("text", ["16x8x1x1", "4", "3x5", "channels", "2:4", "1:8"])
def test_a_granularity_is_read_as_it_is_written(text: str) -> None:
    assert parse(text).text == text


@pytest.mark.parametrize("text", ["", "16x", "0x8", "1x1x1x1x1", "4:2", "4:4", "0:4", "channel", "2x-1"])
def test_what_is_no_granularity_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(SettingsError, match=r"16x8x1x1.*channels.*2:4"):
        parse(text)


def test_stem_classifier_and_grouped_convolutions_are_left_alone() -> None:
    network = load_model("test_efficientnet")
    layers = maskable(network)
    assert "conv_stem" not in layers
    assert "classifier" not in layers
    assert "conv_head" in layers
    assert all(getattr(layer, "groups", 1) == 1 for layer in layers.values())
    assert not maskable(load_model("test_nfnet")).keys() & {"stages.0.0.conv1", "stages.0.0.conv2"}


def test_layers_whose_inputs_are_no_multiple_stay_dense() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3), nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 2))
    assert [part.weight for part in NOfM(2, 4).parts(network)] == ["3.weight"]
    assert [part.weight for part in NOfM(1, 3).parts(network)] == ["1.weight"]
    with pytest.raises(SettingsError, match="multiple of 5"):
        NOfM(2, 5).parts(network)
    with pytest.raises(SettingsError, match="first convolution and its classifier"):
        Blocks((2, 2)).parts(nn.Sequential(nn.Conv2d(3, 6, 3), nn.Linear(6, 2)))


def test_n_of_m_has_a_sparsity_of_its_own() -> None:
    assert NOfM(1, 4).selection([], None).sparsity == 0.75
    assert NOfM(2, 4).selection([], 0.5) == Within(2, 4)
    with pytest.raises(SettingsError, match=r"2:4 is a sparsity of 0\.5, not 0\.3"):
        NOfM(2, 4).selection([], 0.3)
    with pytest.raises(SettingsError, match="give a sparsity"):
        Channels().selection([], None)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.floats(0.05, 0.95), st.integers(0, 99))
def test_a_global_selection_is_exact_and_leaves_every_layer_one_group(
    counts: list[int], sparsity: float, seed: int
) -> None:
    entries = {str(place): count for place, count in enumerate(counts)}
    total = sum(counts)
    if total - round(total * sparsity) < len(counts):
        with pytest.raises(SettingsError, match="is the most"):
            globally(entries, sparsity)
        return
    selection = globally(entries, sparsity)
    random = torch.Generator().manual_seed(seed)
    # Few different scores, so that there are ties.
    scores = {key: torch.randint(4, (count,), generator=random).float() for key, count in entries.items()}
    chosen = selection.hard(scores)
    every, inside = torch.cat(list(scores.values())), torch.cat(list(chosen.values()))
    assert int(inside.sum()) == selection.keep == total - round(total * sparsity)
    assert all(bool(mask.any()) for mask in chosen.values())
    assert selection.kept(scores) == {key: int(mask.sum()) for key, mask in chosen.items()}
    # Nobody that is out is better than somebody who is in and not the last of a layer.
    spare = torch.cat([mask & (mask.sum() > 1) for mask in chosen.values()])
    if bool(spare.any()) and not bool(inside.all()):
        assert every[~inside].max() <= every[spare].min()
    half = sum(int(mask.sum()) for mask in selection.hard(scores, 0.5).values())
    assert half == total - round((total - selection.keep) * 0.5)


def test_of_every_few_neighbours_the_best_stay() -> None:
    scores = {"a": torch.tensor([3.0, 1.0, 2.0, 0.0, 5.0, 5.0, 5.0, 6.0])}
    assert Within(2, 4).hard(scores)["a"].tolist() == [True, False, True, False, True, False, False, True]
    assert Within(2, 4).hard(scores, 0.5)["a"].tolist() == [True, True, True, False, True, True, False, True]
    soft = Within(2, 4).soft(scores, 0.3)["a"]
    torch.testing.assert_close(soft, soft_topk(scores["a"].reshape(2, 4), 2.0, 0.3).flatten())


def test_a_global_soft_selection_is_one_over_all_layers() -> None:
    scores = {"a": torch.tensor([0.1, 0.9]), "b": torch.tensor([0.5, 0.6, 0.2])}
    soft = Globally({"a": 2, "b": 3}, 2).soft(scores, 0.1)
    expected = soft_topk(torch.cat(list(scores.values())), 2.0, 0.1)
    torch.testing.assert_close(torch.cat(list(soft.values())), expected)
    assert float(soft["a"].sum()) != pytest.approx(1.0, abs=1e-3)


def test_temperatures_fall_by_the_same_factor_or_stay() -> None:
    falling = Falling(0.1, 0.001)
    assert [falling.at(share) for share in (0.0, 0.5, 1.0)] == pytest.approx([0.1, 0.01, 0.001])
    assert Fixed(0.3).at(0.7) == 0.3
    for start, end in ((0.1, 0.0), (0.1, 0.2)):
        with pytest.raises(SettingsError, match="falls to something above 0"):
            Falling(start, end)
    with pytest.raises(SettingsError, match="above 0"):
        Fixed(0.0)
