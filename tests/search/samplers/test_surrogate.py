"""What is learned from scores, beside functions that were planted: they have to be found again."""

import itertools
import tracemalloc
from collections import defaultdict

import numpy as np
import pytest

from pruner.choices.chain import Block, Chain
from search.samplers import surrogate as surrogate_module
from search.samplers.neighbours import Moves, Neighbourhood
from search.samplers.surrogate import Gains, Surrogate
from search.space import Array, Space

SITES = 7
BLOCKS = tuple(
    Block(f"blocks.{i}", "attn" if i % 2 else "ffn", f"block {i}", ("keep", "merge", "drop")[: 2 + (i == 0)])
    for i in range(SITES)
)
SPACE = Space.of(Chain("planted", "any", (3, 1, 1), BLOCKS), [])
COUNT = len(SPACE.cuts)
ALL = np.array(
    [
        SPACE.vector(SPACE.chain.plan(dict(zip(SPACE.choices, way, strict=True))))
        for way in itertools.product(*SPACE.choices.values())
    ]
)


def planted(seed: int, constant: float = 3.0, interactions: float = 0.3) -> Gains:
    """Gains drawn at random; one block cannot be cut in two ways, so the two first cuts do not interact."""
    random = np.random.default_rng(seed)
    pairs = np.triu(random.normal(0, interactions, (COUNT, COUNT)), 1)
    pairs[0, 1] = 0
    return Gains(constant, random.normal(-0.5, 1, COUNT), pairs)


def some(count: int, seed: int = 0) -> tuple[Array, Array]:
    """So many plans drawn from all there are, and the others."""
    order = np.random.default_rng(seed).permutation(len(ALL))
    return ALL[order[:count]], ALL[order[count:]]


def test_gains_add_up_as_they_say() -> None:
    gains = planted(0)
    for vector, score in zip(ALL, gains.scores(ALL), strict=True):
        on = np.flatnonzero(vector)
        pairs = sum(gains.pairs[one, other] for one, other in itertools.combinations(on, 2))
        assert score == pytest.approx(gains.constant + gains.single[on].sum() + pairs)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_quadratic_is_recovered(seed: int) -> None:
    gains = planted(seed)
    seen, unseen = some(len(ALL) - 50, seed)
    learned = Surrogate(SPACE, seen, gains.scores(seen)).mean()
    truth = gains.scores(unseen)
    assert np.abs(learned.scores(unseen) - truth).max() < 0.08 * truth.std()
    assert np.corrcoef(learned.scores(unseen), truth)[0, 1] > 0.999
    assert np.corrcoef(learned.single, gains.single)[0, 1] > 0.999
    upper = np.triu_indices(COUNT, 1)
    assert np.corrcoef(learned.pairs[upper], gains.pairs[upper])[0, 1] > 0.99


def test_what_adds_up_is_learned_from_little_more_than_single_blocks() -> None:
    gains = planted(1, interactions=0.0)
    seen = np.vstack([np.zeros((1, COUNT)), np.eye(COUNT), some(10)[0]])
    learned = Surrogate(SPACE, seen, gains.scores(seen)).mean()
    truth = gains.scores(ALL)
    assert np.corrcoef(learned.scores(ALL), truth)[0, 1] > 0.99


def test_a_pair_is_learned_above_the_diagonal_alone_and_never_within_a_block() -> None:
    gains = planted(2)
    learned = Surrogate(SPACE, ALL, gains.scores(ALL)).mean()
    assert not np.tril(learned.pairs).any()
    for one, other in itertools.combinations(range(COUNT), 2):
        assert (learned.pairs[one, other] != 0) == (SPACE.places[one] != SPACE.places[other])


def test_what_was_seen_is_known_better_than_what_was_not() -> None:
    seen, unseen = some(20)
    surrogate = Surrogate(SPACE, seen, planted(3).scores(seen))
    known, unknown = surrogate.deviation(seen), surrogate.deviation(unseen)
    spread = planted(3).scores(seen).std()
    assert known.max() < 0.1 * spread
    assert (unknown > 0).all()
    assert unknown.mean() > 1.2 * known.mean()


def test_deviations_shrink_as_more_is_seen() -> None:
    order, rest = some(140)
    scores = planted(4).scores(order)
    deviations = [float(Surrogate(SPACE, order[:n], scores[:n]).deviation(rest).mean()) for n in (20, 60, 140)]
    assert deviations[0] > 2 * deviations[1] > 4 * deviations[2]


def test_errors_are_as_large_as_deviations_say() -> None:
    normalized = []
    for seed in range(20):
        gains = planted(seed)
        seen, unseen = some(30, seed)
        surrogate = Surrogate(SPACE, seen, gains.scores(seen))
        normalized += list((surrogate.mean().scores(unseen) - gains.scores(unseen)) / surrogate.deviation(unseen))
    assert 0.5 < float(np.std(normalized)) < 2.0


@pytest.mark.parametrize("seed", range(3))
def test_shares_that_add_up_as_log_odds_are_learned_so(seed: int) -> None:
    gains = planted(seed, constant=2.0)
    seen, unseen = some(len(ALL) - 50, seed)
    surrogate = Surrogate(SPACE, seen, 1 / (1 + np.exp(-gains.scores(seen))))
    assert surrogate.score_at(0.0) == 0.5
    assert surrogate.score_at(2.0) == pytest.approx(1 / (1 + np.exp(-2)))
    truth = gains.scores(unseen)
    assert np.abs(surrogate.mean().scores(unseen) - truth).max() < 0.05 * truth.std()


@pytest.mark.parametrize("seed", range(3))
def test_shares_whose_logarithms_add_up_are_learned_so(seed: int) -> None:
    gains = planted(seed, constant=-0.1)
    gains = Gains(-0.1, -np.abs(gains.single), -np.abs(gains.pairs))
    seen, unseen = some(len(ALL) - 50, seed)
    surrogate = Surrogate(SPACE, seen, np.exp(gains.scores(seen)))
    assert surrogate.score_at(0.0) == 1.0
    assert surrogate.score_at(-2.0) == pytest.approx(np.exp(-2))
    truth = gains.scores(unseen)
    assert np.abs(surrogate.mean().scores(unseen) - truth).max() < 0.05 * truth.std()


def test_what_is_expected_of_cuts_helps_where_it_is_right_and_is_unlearned_where_it_is_not() -> None:
    off: dict[tuple[str, int], float] = defaultdict(float)
    for seed in range(4):
        random = np.random.default_rng(seed)
        harms = dict(zip(SPACE.cuts, random.lognormal(0, 1.5, COUNT), strict=True))
        gains = Gains(0.9, -0.01 * np.array(list(harms.values())), np.zeros((COUNT, COUNT)))
        wrong = dict(zip(SPACE.cuts, random.permutation(list(harms.values())), strict=True))
        for count in (6, 140):
            seen, unseen = some(count, seed)
            for told, space in (("no", SPACE), ("right", SPACE.expecting(harms)), ("wrong", SPACE.expecting(wrong))):
                learned = Surrogate(space, seen, gains.scores(seen))
                scores = np.array([learned.score_at(float(score)) for score in learned.mean().scores(unseen)])
                off[told, count] += np.abs(scores - gains.scores(unseen)).mean()
    assert off["right", 6] < 0.5 * off["no", 6]
    assert off["wrong", 140] < 0.1 * off["no", 6]


def test_nothing_is_expected_where_nothing_is_known() -> None:
    assert SPACE.expected_harms is None
    assert SPACE.expecting({SPACE.cuts[0]: 0.0}).expected_harms is None
    harms = SPACE.expecting({SPACE.cuts[0]: 3.0, SPACE.cuts[1]: 1.0}).expected_harms
    assert harms is not None
    assert harms.tolist() == [1.5, 0.5, *[1.0] * (COUNT - 2)]


@pytest.mark.parametrize("constant", [-40.0, 0.5, 40.0])
def test_scores_that_are_no_shares_stay_as_they_are(constant: float) -> None:
    gains = planted(5, constant, interactions=0.0)
    scores = gains.scores(ALL)
    assert scores.min() < 0 or scores.max() > 1
    surrogate = Surrogate(SPACE, ALL, scores)
    assert [surrogate.score_at(gained) for gained in (-3.0, 0.0, 0.25, 7.0)] == [-3.0, 0.0, 0.25, 7.0]


def test_shares_that_add_up_as_they_are_are_learned_so() -> None:
    """Down to where log odds would bend the line."""
    single = np.linspace(-0.06, -0.2, COUNT)
    scores = Gains(0.999, single, np.zeros((COUNT, COUNT))).scores(ALL)
    assert (scores > 0).all()
    assert (scores < 1).all()
    surrogate = Surrogate(SPACE, ALL, scores)
    assert surrogate.score_at(0.25) == 0.25
    assert surrogate.mean().single == pytest.approx(single, abs=2e-3)


def test_draws_differ_and_scatter_around_the_mean_as_the_deviation_says() -> None:
    seen, unseen = some(25)
    surrogate = Surrogate(SPACE, seen, planted(6).scores(seen))
    random = np.random.default_rng(0)
    drawn = np.array([surrogate.draw(random).scores(unseen) for _ in range(600)])
    assert len(np.unique(drawn.round(9), axis=0)) == len(drawn)
    expected, deviation = surrogate.mean().scores(unseen), surrogate.deviation(unseen)
    assert (np.abs(drawn.mean(axis=0) - expected) < 6 * deviation / np.sqrt(len(drawn))).all()
    assert drawn.std(axis=0) == pytest.approx(deviation, rel=0.25)


def test_equal_generators_draw_equal_gains() -> None:
    seen, _ = some(25)
    surrogate = Surrogate(SPACE, seen, planted(7).scores(seen))
    first, second = (surrogate.draw(np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.single, second.single)
    assert np.array_equal(first.pairs, second.pairs)


def test_scores_that_are_all_alike_teach_that_nothing_matters() -> None:
    seen, unseen = some(12)
    surrogate = Surrogate(SPACE, seen, np.full(12, 0.7))
    values = [surrogate.score_at(float(score)) for score in surrogate.mean().scores(unseen)]
    assert values == pytest.approx([0.7] * len(unseen))


def large(sites: int, plans: int, seed: int = 0) -> tuple[Space, Array]:
    """Sites of two cuts each, and vectors of plans that cut about half of them."""
    blocks = tuple(Block(f"blocks.{i}", "ffn", f"block {i}", ("keep", "merge", "drop")) for i in range(sites))
    random = np.random.default_rng(seed)
    ways = random.choice(3, size=(plans, sites), p=(0.5, 0.25, 0.25))
    vectors = np.stack([ways == 1, ways == 2], axis=2).reshape(plans, 2 * sites)
    return Space.of(Chain("large", "any", (3, 1, 1), blocks), []), vectors.astype(np.int8)


def test_what_is_predicted_does_not_depend_on_how_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit where all fit into one block; else up to the rounding of sums that are grouped otherwise."""
    space, vectors = large(12, 700)
    learned = Surrogate(space, vectors[:60].astype(float), np.random.default_rng(1).normal(size=60))
    mean = learned.mean()
    whole = vectors.astype(float)
    expected, deviation = learned.predicted(mean, vectors)
    assert np.array_equal(expected, mean.scores(whole))
    assert np.array_equal(deviation, learned.deviation(whole))
    monkeypatch.setattr(surrogate_module, "_BLOCK_BYTES", 1)
    in_parts = learned.predicted(mean, vectors)
    np.testing.assert_allclose(in_parts[0], expected, rtol=1e-9)
    np.testing.assert_allclose(in_parts[1], deviation, rtol=1e-9)


def test_what_many_plans_take_to_predict_is_bounded() -> None:
    """100 sites of two cuts have 1 + 2 kinds + 200 cuts + (200 * 199 / 2 - 100) pairs = 20,003 features: of 2,000 plans
    0.3 GB, of all neighbours of a few plans 12 GB. Three blocks of them are held at the most: two factors and their
    product, or features, weighted and not."""
    space, vectors = large(100, 2_000)
    learned = Surrogate(space, vectors[:20].astype(float), np.random.default_rng(1).normal(size=20))
    mean = learned.mean()
    tracemalloc.start()
    try:
        learned.predicted(mean, vectors)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    block = surrogate_module._BLOCK_BYTES
    assert block < peak < 3.2 * block < 2_000 * 20_003 * 8


@pytest.mark.parametrize("count", [5, 140])
def test_plans_around_others_are_predicted_as_all_are(count: int) -> None:
    """What changes in two blocks is all that is counted, and comes to the same."""
    seen = some(count, 1)[0]
    gains = planted(2)
    surrogate = Surrogate(SPACE, seen, gains.scores(seen))
    centres = seen[:3]
    around = np.vstack([Neighbourhood(Moves(SPACE), centre).all() for centre in centres] + [centres.astype(np.int8)])
    expected = surrogate.predicted(surrogate.mean(), around)
    found = surrogate.predicted(surrogate.mean(), around, centres)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    with pytest.raises(AssertionError, match="two blocks at the most"):
        surrogate.predicted(surrogate.mean(), SPACE.vector(SPACE.uncut)[None].astype(np.int8), 1 - centres[:1])
