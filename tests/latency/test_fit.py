import numpy as np
import pytest

from latency.fit import Term, WholeNetwork, in_context_costs

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


def test_true_costs_and_a_true_prior_are_found_exactly() -> None:
    assert fitted(networks(), TRUE) == pytest.approx(TRUE, rel=1e-9)


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
