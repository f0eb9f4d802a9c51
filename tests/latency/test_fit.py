import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency.fit import Cost, Term, WholeNetwork, in_context_costs

STEM, ATTENTION, FFN, LINEAR = ("stem", "keep"), ("attn", "keep"), ("ffn", "keep"), ("ffn", "merge")
TRUE: dict[Term, float] = {STEM: 0.5, ATTENTION: 0.2, FFN: 0.3, LINEAR: 0.02, (LINEAR, LINEAR): -0.02}


def networks(noise: float = 0.0, count: int = 12) -> list[WholeNetwork]:
    random = np.random.default_rng(1)
    found = []
    for _ in range(count):
        counts: dict[Term, int] = {STEM: 1, ATTENTION: int(random.integers(0, 13)), FFN: int(random.integers(0, 13))}
        counts[LINEAR] = 12 - counts[FFN]
        counts[LINEAR, LINEAR] = int(random.integers(0, counts[LINEAR] + 1))
        latency = sum(TRUE[term] * number for term, number in counts.items())
        found.append(WholeNetwork(counts, latency * (1 + noise * random.standard_normal())))
    return found


def fitted(whole: list[WholeNetwork], prior: dict[Term, float]) -> dict[Term, float]:
    return {term: cost.in_context_ms for term, cost in in_context_costs(whole, prior).items()}


def test_true_costs_and_a_true_prior_are_found() -> None:
    """Decimal fractions do not add up to the last bit, so this is a fit: each latency is rounded by at most 30 * 2^-53
    of itself as it is added up, and the system, of condition 23, magnifies that and the solver's own roundings."""
    assert fitted(networks(), TRUE) == pytest.approx(TRUE, rel=1e-11)


@given(st.lists(st.integers(0, 2**30), min_size=4, max_size=4), st.integers(0, 2**30), st.data())
def test_exact_readings_of_exact_costs_are_read_off_bit_for_bit(
    things: list[int], joined: int, data: st.DataObject
) -> None:
    """Multiples of 2^-20 below 2^10, of which a double holds sums of up to 2^23."""
    true: dict[Term, float] = dict(zip([STEM, ATTENTION, FFN, LINEAR], (n * 2.0**-20 for n in things), strict=True))
    true[LINEAR, LINEAR] = -joined * 2.0**-20
    numbers = st.fixed_dictionaries({term: st.integers(0, 40) for term in true})
    drawn = data.draw(st.lists(numbers, min_size=1, max_size=6))
    whole = [WholeNetwork(counts, sum(true[term] * n for term, n in counts.items())) for counts in drawn]
    costs = in_context_costs(whole, true)
    assert costs == {term: Cost(cost, cost, cost) for term, cost in true.items()}


def test_a_reading_that_is_off_by_one_bit_is_fitted() -> None:
    a, b = ("a", "keep"), ("b", "keep")
    whole = [WholeNetwork({a: 1, b: 1}, 4.0), WholeNetwork({a: 2, b: 1}, math.nextafter(5.0, 6.0))]
    found = fitted(whole, {a: 1.0, b: 3.0})
    assert found != {a: 1.0, b: 3.0}
    assert found == pytest.approx({a: 1.0, b: 3.0}, rel=1e-12)


def test_whole_networks_outweigh_a_prior_that_is_half_wrong() -> None:
    found = fitted(networks(noise=0.005), {term: 1.5 * cost for term, cost in TRUE.items()})
    for network in networks():
        predicted = sum(found[term] * number for term, number in network.counts.items())
        assert predicted == pytest.approx(network.latency_ms, rel=0.03)


def test_things_never_cost_less_than_nothing_and_what_follows_may() -> None:
    a, b = ("a", "keep"), ("b", "keep")
    few = [WholeNetwork({a: 1, b: 1}, 1.0), WholeNetwork({a: 1, b: 2}, 0.9)]
    assert min(fitted(few, {a: 0.9, b: 0.1}).values()) >= 0
    joined = [WholeNetwork({a: 1}, 1.0), WholeNetwork({a: 2, (a, a): 1}, 1.0)]
    assert fitted(joined, {a: 1.0, (a, a): -0.5})[a, a] < -0.8


def test_what_no_network_tells_apart_keeps_its_priors_share() -> None:
    a, b = ("a", "keep"), ("b", "keep")
    found = fitted([WholeNetwork({a: 1, b: 1}, 4.0)], {a: 1.0, b: 3.0})
    assert found == pytest.approx({a: 1.0, b: 3.0}, rel=1e-6)


def test_a_cost_lies_in_its_interval_which_noise_widens() -> None:
    spread = []
    for noise in (0.0, 0.05):
        costs = in_context_costs(networks(noise=noise), TRUE)
        assert all(cost.low_ms <= cost.in_context_ms <= cost.high_ms for cost in costs.values())
        spread.append(costs[FFN].high_ms - costs[FFN].low_ms)
    assert spread[1] > 10 * spread[0]
