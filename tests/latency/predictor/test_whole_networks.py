"""What figures of whole networks teach: the host's time, corrections of kernels, and the operators under AMP."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from latency.predictor.compiled import fused
from latency.predictor.correction import corrected_ms, factors
from latency.predictor.host import HostFigure, HostTime, host_factor, issue_ms
from latency.predictor.kernels import GAP_MS, KernelCosts
from latency.predictor.kinds import KINDS
from latency.predictor.listen import Operator, operators_of
from latency.predictor.mixed import mixed_operators_of
from latency.predictor.whole import SOFTMAX, TERMS, Card, WholeNetworks, class_of, shipped_networks
from profiles.judgement import Judgement

ADD = Operator("elementwise", (100.0, 8.0, 3.0, 0.0))
GELU = Operator("elementwise", (100.0, 8.0, 2.0, 1.0))
LINEAR = Operator("linear", (1.0, 100.0, 16.0, 8.0))
NORM = Operator("ln", (100.0, 8.0))


def test_elementwise_operators_in_a_row_become_one_that_moves_what_all_of_them_need() -> None:
    relu = Operator("elementwise", (100.0, 8.0, 2.0, 0.0))
    # What is added is read as well; what one hands to the next is not.
    assert fused([LINEAR, relu, ADD, GELU, NORM, ADD]) == (
        LINEAR,
        Operator("elementwise", (100.0, 8.0, 3.0, 1.0)),
        NORM,
        ADD,
    )
    half_as_many = Operator("elementwise", (50.0, 8.0, 4.0, 0.0))
    assert fused([ADD, half_as_many]) == (Operator("elementwise", (100.0, 8.0, 2 + 1 + 2 / 2, 0.0)),)


def test_the_host_issues_each_operator_by_its_kind_and_of_compiled_ones_those_that_are_left() -> None:
    alone_ms = {"linear": 0.05, "elementwise": 0.02}
    assert issue_ms([LINEAR, ADD, LINEAR], alone_ms) == pytest.approx(0.05 + 0.02 + 0.05)
    host = HostTime(alone_ms, 1.5, 0.5, 0.2)
    assert host.of([LINEAR, ADD, GELU], compiled=False) == pytest.approx(1.5 * 0.09)
    assert host.of([LINEAR, ADD, GELU], compiled=True) == pytest.approx(0.5 * 0.07)


def test_a_host_is_found_from_the_figures_that_it_bounds_and_from_no_others() -> None:
    bound_by_host = [HostFigure(f"network {n}", "any", 1.2 * n, 0.2 * n, n) for n in (1.0, 2.0, 3.0)]
    bound_by_kernels = [HostFigure(f"large {n}", "any", 90.0, 90.0, n) for n in (1.0, 2.0)]
    assert host_factor(bound_by_host) == pytest.approx(1.2, rel=0.02)
    assert host_factor(bound_by_host + bound_by_kernels) == pytest.approx(host_factor(bound_by_host))
    # One network that was measured often does not outvote another.
    often = [HostFigure("often", "any", 2.0, 0.1, 1.0)] * 20
    once = [HostFigure("once", "any", 0.5, 0.1, 1.0)]
    assert host_factor(often + once) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_a_correction_finds_the_factors_that_networks_were_made_with(seed: int) -> None:
    random = np.random.default_rng(seed)
    true = random.uniform(0.3, 3, len(TERMS))
    # As with real ones, most of a network is of a few terms.
    sums, rest = random.exponential(1, (200, len(TERMS))) ** 4, random.uniform(0, 0.1, 200)
    took = rest + sums @ true
    took[:5] *= 3  # some that were measured wrong do not lead it astray
    found = factors(sums, rest, took)
    assert [found[term] for term in TERMS] == pytest.approx(true.tolist(), rel=0.25)  # shrunk
    assert corrected_ms(sums, rest, found)[5:] == pytest.approx(took[5:], rel=0.1)


def test_a_term_that_no_network_has_is_corrected_as_the_others_are() -> None:
    random = np.random.default_rng(0)
    sums = random.exponential(1, (100, len(TERMS)))
    sums[:, 0] = 0
    found = factors(sums, np.zeros(100), sums.sum(axis=1) * 0.5)
    assert found[TERMS[0]] == pytest.approx(0.5, rel=0.1)
    assert factors(np.zeros((3, 2)), np.ones(3), np.ones(3), ("one", "other")) == {"one": 1.0, "other": 1.0}


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8), nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 4, 4) -> (B, 2, 4, 4)"""
        tokens = self.norm(self.conv(x).flatten(2).transpose(1, 2))
        q, k, v = self.linear(tokens).reshape(-1, 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
        return functional.scaled_dot_product_attention(q, k, v)


def test_under_amp_products_are_half_norms_are_not_and_attention_is_its_products() -> None:
    with torch.device("meta"):
        network, images = Attending(), torch.empty(5, 3, 4, 4)
    found = mixed_operators_of(network, images)
    half, single = ([one for one in ones if one.kind != "elementwise"] for ones in (found.half, found.single))
    assert half == [
        Operator("conv", (5, 3, 8, 2.0, 4.0, 2.0, 0.0, 1)),
        Operator("linear", (1.0, 20, 24, 8)),
        Operator("bmm", (10, 4, 4, 4)),
        Operator("bmm", (10, 4, 4, 4)),
    ]
    assert single == [Operator("ln", (20.0, 8))]
    # Casts: images, weights and biases to half, the norm's input back; six bytes for each number.
    casts = [one for one in (*found.half, *found.single) if one.kind == "elementwise" and one.dims[2] in (1.5, 3.0)]
    numbers = sorted(one.dims[0] * one.dims[1] for one in casts)
    assert numbers == sorted([5 * 3 * 16, 8 * 3 * 4, 8, 20 * 8, 20 * 8, 24 * 8, 24])
    assert all(one.dims[2] == (3.0 if one in found.half else 1.5) for one in casts)
    assert SOFTMAX in {class_of(one) for one in operators_of(nn.Softmax(-1), torch.rand(2, 3))}


def test_kernels_are_what_was_timed_alone_less_the_overhead_and_never_faster_than_large_products() -> None:
    plain = KernelCosts("t4", "fp32", Card(0.0, ()))
    ((_, all_of, _),) = plain.bounds([[LINEAR, ADD, LINEAR]])
    alone = [plain.bounds([[one]])[0][1] for one in (LINEAR, ADD)]
    assert all_of == pytest.approx(2 * alone[0] + alone[1])
    assert GAP_MS < alone[1] < 0.02  # a hundredth of a millisecond, where it took three of them by itself
    large = Operator("linear", (1.0, 512.0, 4096.0, 4096.0))
    held = KernelCosts("t4", "fp32", Card(0.0, (), sustained_tflops=1.0)).bounds([[large]])[0]
    assert held[1] == pytest.approx(2 * 512 * 4096**2 / 1e9 + GAP_MS)


def test_factors_multiply_kernels_in_the_dtype_that_was_corrected() -> None:
    by = dict.fromkeys(TERMS, 1.0) | {"layout": 0.0, "linear": 3.0}
    card = Card(0.0, (), None, by, "fp16")
    plain, corrected = (KernelCosts("t4", "fp16", one) for one in (Card(0.0, ()), card))
    before, after = (costs.bounds([[LINEAR], [NORM]]) for costs in (plain, corrected))
    assert after[0][1] - GAP_MS == pytest.approx(3 * (before[0][1] - GAP_MS))
    assert after[1] == pytest.approx(before[1])
    single = [KernelCosts("t4", "fp32", one).bounds([[LINEAR]]) for one in (Card(0.0, ()), card)]
    assert single[0] == single[1]


def test_what_was_taught_is_read_back_and_of_another_version_refused(tmp_path: Path) -> None:
    judged = (Judgement("kernels", "three networks", 3, 0.1, 0.9),)
    taught = WholeNetworks(
        HostTime({"linear": 0.05}, 1.1, 0.9, 0.2), judged, {"t4": Card(0.2, judged, 3.3)}, Card(0.3, judged)
    )
    path = tmp_path / "networks.json"
    taught.save(path)
    assert WholeNetworks.load(path) == taught
    assert taught.card("t4").error == 0.2
    assert taught.card("mi100") == taught.others
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 0}))
    with pytest.raises(ValueError, match="version 1"):
        WholeNetworks.load(path)


def test_what_ships_is_of_sane_hosts_and_corrections() -> None:
    shipped = shipped_networks()
    assert set(shipped.host.alone_ms) == set(KINDS)
    assert all(0.01 < ms < 0.1 for ms in shipped.host.alone_ms.values())
    assert 0.5 < shipped.host.compiled <= shipped.host.eager < 2
    for card in (*shipped.cards.values(), shipped.others):
        assert card.judged
        assert 0.05 < card.error < 1
        assert all(0.05 < factor < 6 for factor in card.factors.values())
