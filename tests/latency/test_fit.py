import numpy as np
import pytest

from latency.fit import WholeNetwork, in_context_costs

TRUE = {"stem": 0.5, "attn": 0.2, "ffn": 0.3, "linear": 0.02}


def networks(noise: float = 0.0, count: int = 8) -> list[WholeNetwork]:
    random = np.random.default_rng(1)
    found = []
    for _ in range(count):
        counts = {"stem": 1, "attn": int(random.integers(0, 13)), "ffn": int(random.integers(0, 13))}
        counts["linear"] = 12 - counts["ffn"]
        latency = sum(TRUE[kind] * number for kind, number in counts.items())
        found.append(WholeNetwork(counts, latency * (1 + noise * random.standard_normal())))
    return found


def test_true_costs_and_a_true_prior_are_found_exactly() -> None:
    assert in_context_costs(networks(), TRUE) == pytest.approx(TRUE, rel=1e-9)


def test_whole_networks_outweigh_a_prior_that_is_half_wrong() -> None:
    wrong = {kind: 1.5 * cost for kind, cost in TRUE.items()}
    found = in_context_costs(networks(noise=0.005), wrong)
    for network in networks():
        predicted = sum(found[kind] * number for kind, number in network.counts.items())
        assert predicted == pytest.approx(network.latency_ms, rel=0.03)


def test_costs_are_never_negative() -> None:
    few = [WholeNetwork({"a": 1, "b": 1}, 1.0), WholeNetwork({"a": 1, "b": 2}, 0.9)]
    assert min(in_context_costs(few, {"a": 0.9, "b": 0.1}).values()) >= 0


def test_what_no_network_tells_apart_keeps_its_priors_share() -> None:
    found = in_context_costs([WholeNetwork({"a": 1, "b": 1}, 4.0)], {"a": 1.0, "b": 3.0})
    assert found == pytest.approx({"a": 1.0, "b": 3.0}, rel=1e-6)
