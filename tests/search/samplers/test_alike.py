"""How alike plans are, beside what follows from gains that are drawn one by one."""

import itertools

import numpy as np
import pytest

from pruner.choices.chain import Block, Chain
from search.samplers.alike import Alike, Weights
from search.samplers.neighbours import Moves, Neighbourhood
from search.space import Array, Space

CHOICES = ("keep", "narrow-75", "narrow-25", "drop")
BLOCKS = tuple(
    Block(f"blocks.{site}", "attn" if site % 2 else "ffn", f"block {site}", CHOICES[: 2 + site % 3])
    for site in (0, 1, 2, 3, 5)
)
SPACE = Space.of(Chain("planted", "any", (3, 1, 1), BLOCKS), [])
COUNT = len(SPACE.cuts)
# How far each cut goes: the first of three a third, and so on.
FAR = np.array([1, 1 / 2, 1, 1 / 3, 2 / 3, 1, 1, 1 / 3, 2 / 3, 1])
WEIGHTS = [Weights(0.3, near, common) for near in (True, False) for common in (0.0, 0.6)]


def some_plans(seed: int, count: int = 12) -> Array:
    random = np.random.default_rng(seed)
    return np.array(
        [
            SPACE.vector(SPACE.chain.plan({block: str(random.choice(ways)) for block, ways in SPACE.choices.items()}))
            for _ in range(count)
        ]
    )


def features(vectors: Array, weights: Weights) -> Array:
    """(plans, features) whose products are what plans share, written out gain by gain."""
    own, common = 1 - weights.common, weights.common
    blocks = sorted(set(SPACE.places.tolist()))
    columns = [np.full(len(vectors), np.sqrt(10.0))]
    for kind in sorted(set(SPACE.kinds)):
        columns.append(2 * vectors[:, [own_kind == kind for own_kind in SPACE.kinds]].sum(1))
    graded = vectors * FAR if common else vectors
    by_block = {}
    for block in blocks:
        mine = np.flatnonzero(SPACE.places == block)
        by_block[block] = [np.sqrt(own) * graded[:, cut] for cut in mine]
        by_block[block] += [np.sqrt(common) * graded[:, mine].sum(1)]
        columns += by_block[block]
    for one, other in itertools.combinations(blocks, 2):
        variance = weights.pair * (1 / (other - one) if weights.near else 3 / COUNT)
        columns += [np.sqrt(variance) * a * b for a in by_block[one] for b in by_block[other]]
    return np.array(columns).T


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_plans_share_the_gains_that_both_have(weights: Weights) -> None:
    one, other, alike = some_plans(0), some_plans(1, 7), Alike(SPACE)
    expected = features(one, weights) @ features(other, weights).T
    np.testing.assert_allclose(alike.shared(one, other).covariance(weights), expected, rtol=1e-12)
    np.testing.assert_allclose(alike.variances(weights, one), (features(one, weights) ** 2).sum(1), rtol=1e-12)


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_what_plans_say_of_gains_scores_other_plans_as_what_they_share(weights: Weights) -> None:
    one, other, alike = some_plans(2), some_plans(3, 9), Alike(SPACE)
    coefficients = np.random.default_rng(4).normal(size=len(one))
    constant, single, pairs = alike.gains(weights, one, coefficients)
    assert not np.tril(pairs).any()
    scores = constant + other @ single + ((other @ pairs) * other).sum(1)
    np.testing.assert_allclose(scores, alike.shared(other, one).covariance(weights) @ coefficients, rtol=1e-9)


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_gains_are_drawn_with_the_variances_that_plans_share(weights: Weights) -> None:
    plans, alike, random = some_plans(5, 4), Alike(SPACE), np.random.default_rng(6)
    drawn = []
    for _ in range(6_000):
        constant, single, pairs = alike.drawn(weights, random)
        drawn.append(constant + plans @ single + ((plans @ np.triu(pairs, 1)) * plans).sum(1))
    expected = alike.shared(plans, plans).covariance(weights)
    found = np.cov(np.array(drawn).T)
    # A covariance of so many draws is off by its own size over the root of half their number: five times that.
    sizes = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert (np.abs(found - expected) / sizes).max() < 5 * np.sqrt(2 / len(drawn))


@pytest.mark.parametrize("common", [0.0, 0.6])
def test_near_pairs_around_plans_are_counted_from_what_changes(common: float) -> None:
    seen, bases, moves = some_plans(7), some_plans(8, 3), Moves(SPACE)
    around = np.vstack([Neighbourhood(moves, base).all() for base in bases]).astype(np.float64)
    alike = Alike(SPACE)
    plainly = alike.near_pairs(seen, around, common, None)
    np.testing.assert_allclose(alike.near_pairs(seen, around, common, bases), plainly, rtol=1e-12, atol=1e-12)


def test_where_there_is_one_way_of_cutting_nothing_is_in_common() -> None:
    blocks = [Block(f"blocks.{site}", "ffn", f"block {site}", ("keep", "drop")) for site in range(3)]
    assert Alike(SPACE).has_grades
    assert not Alike(Space.of(Chain("planted", "any", (3, 1, 1), tuple(blocks)), [])).has_grades
