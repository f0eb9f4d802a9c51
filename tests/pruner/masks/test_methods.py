"""What each method makes of weights, masks and gradients, against its formula written out."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from pruner.errors import SettingsError, UnknownMethodError
from pruner.masks.granularity import Blocks, Granularity, NOfM, parse
from pruner.masks.masked import DECIDED, Masked
from pruner.masks.methods import METHODS, Acdc, Awg, Magnitude, Method, Pas, Pdp, Smart, known_method, method
from pruner.masks.selection import Globally
from pruner.masks.topk import soft_topk

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 12),
        nn.ReLU(),
        nn.Linear(12, 5),
    )


def masked_by(method: Method, granularity: Granularity | None = None, sparsity: float | None = 0.5) -> Masked:
    return Masked(network(), granularity or Blocks((2, 3)), sparsity, method)


def joined(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat(list(tensors.values()))


def best(scores: Tensor, keep: int) -> Tensor:
    """The `keep` best of one row, without ties and with some in each layer."""
    return scores > scores.sort(descending=True).values[keep]


def test_the_methods_are_known_by_name() -> None:
    assert set(METHODS) == {"smart", "pdp", "acdc", "pas", "awg", "magnitude"}
    assert isinstance(known_method("smart"), Smart)
    with pytest.raises(UnknownMethodError, match="'smrt'; nearest: smart"):
        known_method("smrt")
    with pytest.raises(ValueError, match="'smart' already"):
        method(Smart)


@pytest.mark.parametrize("name", [*METHODS])
@pytest.mark.parametrize("granularity", ["2x3", "2:4"])
def test_every_method_leaves_exactly_as_many_groups_as_were_asked_for(name: str, granularity: str) -> None:
    masked = masked_by(known_method(name), parse(granularity), None if ":" in granularity else 0.4)
    if name in ("awg", "pdp", "magnitude"):
        masked.searched = 0.9
        masked(IMAGES).square().mean().backward()
        known_method(name).on_gradients(masked, 0.9)
        masked.enter(known_method(name).phase(0.9))
    masked.enter(DECIDED)
    inside = joined(masked.support())
    assert int(inside.sum()) == round((0.6 if granularity == "2x3" else 0.5) * len(inside))
    masked.searched = None
    hard = masked.hardened()
    torch.testing.assert_close(hard(IMAGES), masked(IMAGES))
    for part in masked.parts:
        mask = part.spread(masked.support()[part.key])[part.weight]
        assert torch.equal(hard.get_parameter(part.weight), masked.network.get_parameter(part.weight) * mask)


def test_masks_multiply_weights_and_nothing_in_the_network_is_replaced() -> None:
    whole = network()
    masked = Masked(whole, Blocks((2, 3)), 0.5, Smart())
    assert [type(one) for one in masked.network.modules()] == [type(one) for one in whole.modules()]
    assert torch.equal(masked(IMAGES), whole(IMAGES)), "everything is in before anything was decided"
    masked.searched = 0.5
    changed = network()
    soft = Smart().masks(masked, 0.5)
    with torch.no_grad():
        for part in masked.parts:
            changed.get_parameter(part.weight).mul_(part.spread(soft[part.key])[part.weight])
    torch.testing.assert_close(masked(IMAGES), changed(IMAGES))
    assert whole.state_dict().keys() == masked.network.state_dict().keys()


def test_smart_learns_one_number_for_each_group_through_the_soft_top_k_of_all() -> None:
    masked = masked_by(Smart())
    begun = joined(dict(masked.masks.items()))
    sizes = joined(masked.magnitudes())
    assert torch.equal(begun.argsort(), sizes.argsort())
    torch.testing.assert_close(begun.sort().values, torch.arange(1, len(begun) + 1) / len(begun))
    for searched, tau in ((0.0, 0.1), (0.5, (0.1 * 0.002) ** 0.5), (1.0, 0.002)):
        found = joined(dict(Smart().masks(masked, searched)))
        torch.testing.assert_close(found, soft_topk(begun, float(masked.selection.keep), tau))
        assert float(found.sum()) == pytest.approx(len(begun) * 0.5, abs=1e-3)
    masked.searched = 0.3
    masked(IMAGES).square().sum().backward()
    gradients = joined({key: mask.grad for key, mask in masked.masks.items()})
    assert float(gradients.abs().max()) > 0
    assert float(gradients.sum()) == pytest.approx(0.0, abs=1e-4)
    assert all(weight.grad is not None for weight in masked.weights().values())
    with torch.no_grad():
        masked.masks["2"].copy_(-masked.masks["2"])
    assert torch.equal(Smart().scores(masked)["2"], masked.masks["2"])


def test_smart_has_no_masks_beside_the_weights_of_n_of_m() -> None:
    masked = masked_by(Smart(), NOfM(2, 4), None)
    assert not len(masked.masks)
    weight = masked.network[6].weight
    found = Smart().masks(masked, 0.0)["6"].reshape(12, 2, 4)
    size = weight.abs().reshape(12, 2, 4)
    torch.testing.assert_close(found, soft_topk(size / size.mean(), 2.0, 0.1))
    found[0, 0, 0].backward()
    assert float(weight.grad[0, :4].abs().min()) > 0
    assert not weight.grad[0, 4:].any()


def test_pdp_masks_are_sigmoids_around_the_threshold_of_the_layer() -> None:
    pdp = Pdp(warm_up=0.2, ramp_end=0.8, softness=0.3)
    masked = masked_by(pdp, Blocks((1,)))
    masked.enter(pdp.phase(0.19))
    assert all(bool(mask.all()) for mask in pdp.masks(masked, 0.19).values())
    masked.enter(pdp.phase(0.2))
    sizes = masked.magnitudes()
    chosen = best(joined(sizes), masked.selection.keep)
    counts = [int(some.sum()) for some in chosen.split([len(some) for some in sizes.values()])]
    assert [int(masked.memory.get_buffer(key)) for key in sizes] == counts
    for searched, ramp in ((0.35, 0.25), (0.8, 1.0), (0.95, 1.0)):
        found = pdp.masks(masked, searched)
        for (key, size), count in zip(sizes.items(), counts, strict=True):
            keep = len(size) - round((len(size) - count) * ramp)
            ordered = size.sort(descending=True).values
            threshold = (ordered[keep - 1] + ordered[keep]) / 2
            expected = torch.sigmoid((size.square() - threshold.square()) / (0.3 * threshold.square()))
            torch.testing.assert_close(found[key], expected)
            assert int((found[key] > 0.5).sum()) == keep
    masked.enter(DECIDED)
    assert [int(mask.sum()) for mask in masked.support().values()] == counts


def test_pdp_has_a_threshold_among_every_few_neighbours() -> None:
    pdp = Pdp()
    masked = masked_by(pdp, NOfM(2, 4), None)
    masked.enter(pdp.phase(0.9))
    found = pdp.masks(masked, 0.9)["6"].reshape(-1, 4)
    assert ((found > 0.5).sum(1) == 2).all()


def test_acdc_alternates_between_everything_and_the_largest() -> None:
    acdc = Acdc(phases=5)
    masked = masked_by(acdc)
    weights = masked.weights()
    assert [acdc.phase(searched) for searched in (0.0, 0.19, 0.2, 0.5, 0.79, 0.99, 1.0)] == [0, 0, 1, 2, 3, 4, 4]
    largest = best(joined(masked.magnitudes()), masked.selection.keep)
    masked.enter(1)
    assert torch.equal(joined(masked.support()), largest)
    assert torch.equal(joined(masked.magnitudes()) > 0, largest)
    masked.searched = 0.3
    masked(IMAGES).sum().backward()
    for part in masked.parts:
        outside = part.spread(~masked.support()[part.key])[part.weight]
        assert not weights[part.key].grad[outside].any()
    with torch.no_grad():
        for weight in weights.values():
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    masked.enter(1)
    assert torch.equal(joined(masked.support()), largest), "a support stays for its phase"
    masked.enter(2)
    assert bool(joined(masked.support()).all())
    masked.enter(3)
    assert not torch.equal(joined(masked.support()), largest)


def test_pas_indicators_are_binary_and_hand_gradients_on() -> None:
    pas = Pas(weight=7.0)
    masked = masked_by(pas)
    assert joined(dict(pas.masks(masked, 0.0))).eq(1).all()
    with torch.no_grad():
        masked.masks["6"].fill_(0.5)
        masked.masks["6"][0] = 0.6
    masks = pas.masks(masked, 0.0)
    assert masks["6"].tolist() == [1.0] + [0.0] * (len(masks["6"]) - 1)
    masks["6"].backward(torch.arange(len(masks["6"])).float())
    assert torch.equal(masked.masks["6"].grad, torch.arange(len(masks["6"])).float())
    entries = sum(part.entries for part in masked.parts)
    cost = (len(masks["2"]) + 1) / entries
    target = masked.selection.keep / entries
    assert float(pas.penalty(masked, 0.0)) == pytest.approx(7 * (cost - target) ** 2, rel=1e-5)


def test_awg_scores_by_weights_before_gradients_since_and_how_sparse_the_layer_is() -> None:
    awg = Awg(cycles=2, decay=0.8)
    masked = masked_by(awg)
    before = {key: weight.detach().clone() for key, weight in masked.weights().items()}
    averages = {key: torch.zeros_like(weight) for key, weight in before.items()}
    masked.searched = 0.1
    for step in range(2):
        masked.zero_grad()
        masked(IMAGES * (step + 1)).square().sum().backward()
        awg.on_gradients(masked, 0.1)
        averages = {key: 0.8 * averages[key] + 0.2 * w.grad.abs() for key, w in masked.weights().items()}
        with torch.no_grad():
            for weight in masked.weights().values():
                weight.add_(0.01)
    parts = {part.key: part for part in masked.parts}
    scores = {key: parts[key].mean(before[key].abs() * averages[key]) for key in before}
    torch.testing.assert_close(dict(awg.scores(masked)), scores)
    masked.enter(awg.phase(0.6))
    entries = len(joined(scores))
    assert int(joined(masked.support()).sum()) == entries - round((entries - masked.selection.keep) / 2)
    gone = {key: ~mask for key, mask in masked.support().items()}
    again = awg.scores(masked)
    for key, score in scores.items():
        torch.testing.assert_close(again[key][~gone[key]], (score / (~gone[key]).float().mean())[~gone[key]])
    masked.enter(DECIDED)
    assert not any(bool((masked.support()[key] & gone[key]).any()) for key in gone)


def test_an_overflow_leaves_the_averages_alone() -> None:
    masked = masked_by(Awg())
    for weight in masked.weights().values():
        weight.grad = torch.full_like(weight, torch.inf)
    Awg().on_gradients(masked, 0.1)
    assert all(not buffer.any() for name, buffer in masked.memory.named_buffers() if name.endswith("gradient"))


def test_magnitude_decides_before_the_first_step_and_stays() -> None:
    masked = masked_by(Magnitude())
    masked.enter(Magnitude().phase(0.0))
    largest = best(joined(masked.magnitudes()), masked.selection.keep)
    assert torch.equal(joined(masked.support()), largest)
    with torch.no_grad():
        for weight in masked.weights().values():
            weight.copy_(torch.rand_like(weight))
    masked.enter(Magnitude().phase(0.9))
    masked.enter(DECIDED)
    assert torch.equal(joined(masked.support()), largest)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_too_much_is_refused() -> None:
    with pytest.raises(SettingsError, match="is the most"):
        masked_by(Smart(), Blocks((8, 8, 3, 3)), 0.9)
    assert isinstance(masked_by(Smart()).selection, Globally)
