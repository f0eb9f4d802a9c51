"""What lies one or two blocks away, beside counting it."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruner.choices.chain import Block, Chain
from search.limits import CountLimit, Limit, SizeLimit
from search.samplers.neighbours import Moves, Neighbourhood, climbed
from search.samplers.surrogate import Gains
from search.space import Array, Space

CHOICES = ("keep", "merge", "drop")


def space_of(random: np.random.Generator, share: float = 0.6) -> Space:
    """Five blocks, of which one cannot be cut and one in one way alone; a cut may weigh more than what it replaces.
    `share` is how much of what could be cut away may stay."""
    ways = [3, 3, 1, 2, 3]
    blocks = tuple(Block(f"blocks.{i}", "kind", f"block {i}", CHOICES[:n]) for i, n in enumerate(ways))
    sizes = {(block.name, choice): float(random.uniform(0, 1)) for block in blocks for choice in block.choices}
    whole = sum(sizes[block.name, "keep"] for block in blocks)
    least = sum(min(sizes[block.name, choice] for choice in block.choices) for block in blocks)
    limits: list[Limit] = [
        SizeLimit("parameters", least + share * (whole - least), whole, sizes),
        CountLimit(frozenset(block.name for block in blocks), 3),
    ]
    return Space.of(Chain("small", "any", (3, 1, 1), blocks), limits)


def gains_of(space: Space, random: np.random.Generator) -> Gains:
    count = len(space.cuts)
    return Gains(1.0, random.normal(0, 1, count), np.triu(random.normal(0, 0.7, (count, count)), 1))


def vectors_of(space: Space) -> list[Array]:
    ways = itertools.product(*space.choices.values())
    plans = [space.chain.plan(dict(zip(space.choices, way, strict=True))) for way in ways]
    return [space.vector(plan) for plan in plans if space.admits(plan)]


def changed(space: Space, one: Array, other: Array) -> int:
    """In how many blocks two vectors differ."""
    first, second = space.plan(one), space.plan(other)
    return sum(first.choice_of(block) != second.choice_of(block) for block in space.choices)


def rows(vectors: Array) -> list[tuple[float, ...]]:
    return sorted(map(tuple, vectors))


@pytest.mark.parametrize("seed", range(12))
def test_all_neighbours_are_found_and_nothing_else(seed: int) -> None:
    random = np.random.default_rng(seed)
    space = space_of(random)
    within = vectors_of(space)
    for vector in within[:: max(1, len(within) // 8)]:
        counted = [other for other in within if 1 <= changed(space, vector, other) <= 2]
        found = Neighbourhood(Moves(space), vector).all()
        assert rows(found) == rows(np.array(counted).reshape(-1, len(space.cuts)))


def test_without_limits_the_neighbours_are_counted_by_a_formula() -> None:
    space = space_of(np.random.default_rng(0)).within([])
    one, two = 2 + 2 + 1 + 2, 2 * 2 + 2 * 1 + 2 * 2 + 2 * 1 + 2 * 2 + 1 * 2
    assert len(Neighbourhood(Moves(space), space.vector(space.uncut)).all()) == one + two


@pytest.mark.parametrize("seed", range(12))
def test_what_moves_gain_is_what_the_plans_after_them_do(seed: int) -> None:
    random = np.random.default_rng(seed)
    space = space_of(random)
    gains = gains_of(space, random)
    for vector in vectors_of(space)[::3]:
        around = Neighbourhood(Moves(space), vector)
        alone, together = around.alone(gains), around.together(gains)
        here = gains.scores(vector[None])
        (ones,) = np.nonzero(around.one_fits)
        np.testing.assert_allclose(gains.scores(around.after(ones)) - here, alone[ones], atol=1e-9)
        firsts, seconds = np.nonzero(around.two_fit)
        both = alone[firsts] + alone[seconds] + together[firsts, seconds]
        np.testing.assert_allclose(gains.scores(around.after(firsts, seconds)) - here, both, atol=1e-9)


@pytest.mark.parametrize("most", [1, 5, 20, 1000])
def test_the_most_promising_are_the_best_of_all(most: int) -> None:
    random = np.random.default_rng(0)
    space = space_of(random)
    gains = gains_of(space, random)
    for vector in vectors_of(space)[::5]:
        around = Neighbourhood(Moves(space), vector)
        found, every = around.most_promising(gains, most), around.all()
        assert len(found) == min(most, len(every))
        assert set(rows(found)) <= set(rows(every))
        best = np.sort(gains.scores(every))[::-1][: len(found)]
        np.testing.assert_allclose(np.sort(gains.scores(found))[::-1], best, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 1.0))
def test_climbing_stays_within_the_limits_and_never_goes_down(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    space = space_of(random, share)
    gains = gains_of(space, random)
    for start in vectors_of(space)[::5]:
        end = climbed(space, start, gains)
        assert space.admits(space.plan(end))
        assert gains.scores(end[None])[0] >= gains.scores(start[None])[0]
        around = Neighbourhood(Moves(space), end).all()
        if len(around):
            assert gains.scores(around).max() <= gains.scores(end[None])[0] + 1e-6, "there is still a way up"


def test_where_nothing_can_be_changed_climbing_stays() -> None:
    random = np.random.default_rng(0)
    space = space_of(random).within([CountLimit(frozenset(), 0.0), SizeLimit("letters", 0.0, 0.0, no_sizes())])
    start = space.vector(space.uncut)
    assert len(Neighbourhood(Moves(space), start).all()) == 0
    assert np.array_equal(climbed(space, start, gains_of(space, random)), start)


def no_sizes() -> dict[tuple[str, str], float]:
    """Every cut weighs something, where there is room for nothing."""
    return {(f"blocks.{i}", choice): float(choice != "keep") for i in range(5) for choice in CHOICES}
