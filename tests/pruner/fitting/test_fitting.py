"""Layers fitted in the places of blocks: exact where a layer can be exact, and what is said where one cannot."""

import itertools
from random import Random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from networks import ROWS, images_for, in_a_row, made, relative_error
from pruner.choices.choice import DROP, FIT, FITS, FOLDS
from pruner.choices.plan import Plan
from pruner.choices.stand_ins import MOST_FEATURES, convolution, linear, new_layer, offered
from pruner.errors import FitError
from pruner.fitting.at_once import fit_at_once, fit_own_layers
from pruner.fitting.cost import expected_cost
from pruner.fitting.fits import Fits, Key, as_checkpoint, expected_harms, from_checkpoint
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.fitting.layers import way_of
from pruner.fitting.rows import patches, places_of, values
from pruner.fitting.spans import followers_of, span_of
from pruner.fitting.sums import Sums
from pruner.fitting.uncut_run import run_uncut
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import OpenNetwork, apply, describe, supernet
from pruner.scoring.evaluator import Evaluator
from pruner.scoring.part_runner import PartRunner

LIKE = torch.zeros((), dtype=torch.float64)


def sums_by(layer: nn.Module, x: Tensor, y: Tensor) -> Sums:
    """Of all places of activations x, for a layer that is to give y."""
    way, everywhere = way_of(FIT, layer), torch.arange(y[0, 0].numel() if y.dim() == 4 else y.shape[1])
    found = Sums.empty(way.features, y.shape[1] if y.dim() == 4 else y.shape[2])
    beside = way.beside(x)
    found.add(way.rows(x, everywhere), values(y if beside is None else y - beside, everywhere))
    return found


def refitted(layer: nn.Module, truth: nn.Module, x: Tensor) -> nn.Module:
    """The layer, fitted to what `truth` makes of images; the last third of them set apart."""
    with torch.no_grad():
        y, third = truth(x), len(x) // 3
        seen, apart = sums_by(layer, x[third:], y[third:]), sums_by(layer, x[:third], y[:third])
    (fit,) = way_of(FIT, layer).solved(seen, apart, [slice(None)])[FIT]
    fit.put_into(layer)
    assert fit.error < 1e-6
    return layer


@pytest.mark.parametrize("side", [0, 1, 3, 5])
def test_what_is_a_layer_is_found_again(side: int) -> None:
    """Its borders too: the patches are padded as the convolution is."""
    torch.manual_seed(side)
    x = torch.randn(9, 4, 5, 7, dtype=torch.float64) if side else torch.randn(9, 20, 6, dtype=torch.float64)
    truth, layer = (convolution(4, 4, side, LIKE) if side else linear(6, LIKE) for _ in range(2))
    for parameter in truth.parameters():
        nn.init.normal_(parameter)
    refitted(layer, truth, x)
    with torch.no_grad():
        assert relative_error(layer(x), truth(x)) < 1e-5  # a ridge of 1e-7 is left


@pytest.mark.parametrize(("outputs", "side", "stride"), [(6, 1, 1), (4, 3, 2), (6, 3, 2), (3, 1, 2), (5, 5, 3)])
def test_so_is_one_that_changes_the_shape(outputs: int, side: int, stride: int) -> None:
    torch.manual_seed(side)
    x = torch.randn(90, 4, 5, 8, dtype=torch.float64)
    truth, layer = (convolution(4, outputs, side, LIKE, stride) for _ in range(2))
    for parameter in truth.parameters():
        nn.init.normal_(parameter)
    refitted(layer, truth, x)
    with torch.no_grad():
        assert relative_error(layer(x), truth(x)) < 1e-5


def test_a_separable_layer_is_found_again() -> None:
    torch.manual_seed(0)
    block = made("basic", 0)
    network = OpenNetwork(block, ["fit-separable"])
    site = next(site for site in network.sites.values() if "fit-separable" in site.block.choices)
    shape = (site.channels, 9, 8)
    truth, layer = (new_layer("fit-separable", site._anatomy, shape, LIKE) for _ in range(2))
    for parameter in truth.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(30, *shape, dtype=torch.float64)
    refitted(layer, truth, x)


def test_patches_are_what_a_convolution_sees() -> None:
    x = torch.randn(2, 3, 6, 5)
    found = patches(x, torch.arange(30), 3)
    expected = functional.unfold(x, 3, padding=1).transpose(1, 2).flatten(0, 1)
    assert torch.equal(found, expected)
    some = torch.tensor([4, 17])
    assert torch.equal(patches(x, some, 3), expected.unflatten(0, (2, 30))[:, some].flatten(0, 1))


def test_places_are_drawn_where_there_are_too_many() -> None:
    x = torch.zeros(2, 3, 6, 5)
    assert places_of(x, 100, torch.Generator()).tolist() == list(range(30))
    drawn = places_of(x, 7, torch.Generator().manual_seed(0)).tolist()
    assert len(set(drawn)) == 7
    assert drawn == sorted(drawn) == places_of(x, 7, torch.Generator().manual_seed(0)).tolist()


MOST_CHANNELS = 24
"""Of blocks whose larger layers are fitted here: sums over thousands of features take seconds."""


def everything(network: OpenNetwork) -> dict[str, list[str]]:
    small = {name: site.may_be_fitted and site.channels <= MOST_CHANNELS for name, site in network.sites.items()}
    return {
        block.name: [c for c in block.choices if c in (FITS if small[block.name] else FITS[:1])]
        for block in network.chain.blocks
    }


def fitted_and_dropped(network: OpenNetwork, seed: int) -> Plan:
    """A plan that fits the first block that it can, drops the one behind it, and does either or neither with others."""
    random = Random(seed)
    blocks = [block for block in network.chain.blocks if network.sites[block.name].may_be_fitted]
    fitted = everything(network)
    ways = {block.name: [*fitted[block.name], *(c for c in block.choices if c == DROP)] for block in blocks}
    chosen = {name: random.choice(choices) for name, choices in ways.items() if random.random() < 0.7}
    first, second, *_ = ways
    return network.chain.plan(chosen | {first: ways[first][seed % (len(ways[first]) - 1)], second: DROP})


def all_fits(network: OpenNetwork, images: Tensor) -> Fits:
    return fit_at_once(network, everything(network), images.split(7), len(images))


Opened = tuple[OpenNetwork, Tensor, Fits]
"""A network, images for it, and all layers fitted on them."""


@pytest.fixture(scope="module", params=ROWS)
def opened(request: pytest.FixtureRequest) -> Opened:
    network = OpenNetwork(in_a_row(request.param), FITS).eval()
    images = torch.cat([images_for(network.network, torch.float32, seed) for seed in range(5)])
    return network, images, all_fits(network, images)


def test_every_block_of_equal_shape_has_a_fit_for_every_span(opened: Opened) -> None:
    network, _, found = opened
    followers = followers_of(network)
    for name, site in network.sites.items():
        assert site.may_be_fitted == (name in followers)
        spans = range(1, len(followers.get(name, ())) + 2) if site.may_be_fitted else ()
        assert {k.span for k in found if k.block == name} == set(spans)
        for choice, span in itertools.product(everything(network)[name], spans):
            assert found[name, choice, span].error >= 0  # type: ignore[index]
    assert any(key.span > 1 for key in found)


def test_one_pass_finds_what_lstsq_finds_for_a_block_of_its_own(opened: Opened) -> None:
    """The layer of the first block, with every place weighted as the network's answer depends on it."""
    network, images, _ = opened
    name, site = next((name, site) for name, site in network.sites.items() if site.may_be_fitted)
    found = fit_at_once(network, {name: ["fit"]}, [images], len(images))[Key(name, "fit", 1)]
    run = run_uncut(network, images, seed=0)
    x, y = run.inputs[name], run.before_end[name]
    everywhere = torch.arange(x[0, 0].numel() if x.dim() == 4 else x.shape[1])
    roots = run.counts[name].flatten()[:, None].sqrt()
    rows = torch.nn.functional.pad(values(x, everywhere).double(), (0, 1), value=1.0) * roots
    mean = (rows * roots).sum(0)[:-1] / roots.square().sum()
    centred = rows[:, :-1] - mean * roots
    shrunk = found.ridge * centred.square().sum(0).mean()
    below = torch.cat([torch.eye(site.channels).double() * shrunk.sqrt(), torch.zeros(site.channels, 1).double()], 1)
    wanted = torch.cat([values(y - x, everywhere).double() * roots, torch.zeros(site.channels, site.channels).double()])
    expected = torch.linalg.lstsq(torch.cat([rows, below]), wanted, driver="gelsd").solution
    weight = found.weights["weight"].reshape(site.channels, site.channels) - torch.eye(site.channels).double()
    assert relative_error(weight.T, expected[:-1]) < 1e-6


def test_the_harm_that_is_expected_is_what_the_fits_miss(opened: Opened) -> None:
    """Of what the blocks add, each place counting for the square of what the answer depends on it, in the mean."""
    network, images, _ = opened
    fits = fit_at_once(network, everything(network), [images], len(images))
    harms = expected_harms(fits)
    run = run_uncut(network, images, seed=0)
    for name, site in network.sites.items():
        if not site.may_be_fitted:
            continue
        added = run.before_end[name].double() - run.inputs[name]
        squares = added.square().sum(-1 if added.dim() == 3 else 1)
        counts = run.counts[name]
        dropped = float((squares * counts).mean() * counts.mean())
        assert harms[name, DROP] == pytest.approx(dropped, rel=1e-5)
        for choice in everything(network)[name]:
            fit = fits[Key(name, choice)]
            assert harms[name, choice] == pytest.approx(fit.error * dropped, rel=1e-5)


def test_the_first_layer_in_sequence_is_that_of_the_uncut_network(opened: Opened) -> None:
    network, images, fits = opened
    plan = fitted_and_dropped(network, 0)
    name = next(iter(followers_of(network)))
    cut = apply(made_like(network), plan).eval()
    found = fit_in_sequence(cut, images.split(7))
    span = span_of(plan, name, followers_of(network))
    expected = fits[Key(name, plan.choice_of(name), span)]
    first = found[Key(name, plan.choice_of(name), span)]
    for weight, wanted in zip(first.weights.values(), expected.weights.values(), strict=True):
        assert relative_error(weight, wanted) < 1e-4
    assert set(found) == {
        Key(b, c, span_of(plan, b, followers_of(network))) for b, c in plan.choices.items() if c in FITS
    }


def made_like(network: OpenNetwork) -> nn.Module:
    """The model that a network of `ROWS` was opened from."""
    return next(model for name in ROWS if describe(model := in_a_row(name), FITS) == network.chain)


def test_plans_are_scored_by_the_layers_of_their_spans(opened: Opened) -> None:
    """As the network is with these layers in it, evaluated by itself."""
    network, images, fits = opened
    model, followers = made_like(network), followers_of(network)
    plans = [fitted_and_dropped(network, seed) for seed in range(6)]
    labels = torch.zeros(len(images), dtype=torch.int64)
    scores = Evaluator(network, [(images, labels)], fits=fits)(plans)
    assert any(span_of(plan, block, followers) > 1 for plan in plans for block in plan.choices)
    for plan, score in zip(plans, scores, strict=True):
        cut = apply(model, plan).eval()
        for block, choice in plan.choices.items():
            if choice in FITS:
                fits[Key(block, choice, span_of(plan, block, followers))].put_into(cut.sites[block].layer(choice))
        cut.set_lambda(0.0)
        with torch.no_grad():
            expected = functional.cross_entropy(cut(images), labels)
        assert score.cross_entropy == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("shape", ["basic", "bottleneck", "inverted residual"])
def test_what_changes_the_shape_of_images_has_fitted_what_it_folds_to(shape: str) -> None:
    """And plans are scored by that, as the network is with these layers in it."""
    model = in_a_row(shape)
    network, images = OpenNetwork(model).eval(), images_for(model, torch.float32)
    ways = {name: site.fitted_choices for name, site in network.sites.items() if site.fitted_choices}
    assert ways
    for name, choices in ways.items():
        assert not network.sites[name].may_be_fitted
        assert set(choices) <= set(FOLDS)
    fits = fit_at_once(network, ways, [images], len(images))
    assert fits.keys() == {Key(name, choice) for name, choices in ways.items() for choice in choices}
    plan, labels = network.chain.plan({name: choices[-1] for name, choices in ways.items()}), torch.zeros(len(images))
    (score,) = Evaluator(network, [(images, labels.long())], fits=fits)([plan])
    cut = apply(model, plan, merge_init="auto").eval()
    for name, choice in plan.choices.items():
        fits[Key(name, choice)].put_into(cut.sites[name].layer(choice))
    cut.set_lambda(0.0)
    with torch.no_grad():
        expected = functional.cross_entropy(cut(images), labels.long())
    assert score.cross_entropy == pytest.approx(float(expected), rel=1e-4)


def test_no_two_steps_of_a_block_have_one_rank(opened: Opened) -> None:
    """Of equal ranks, plans that begin alike would not stand together."""
    network, _, fits = opened
    runner, followers = PartRunner(network, fits), followers_of(network)
    name = max(followers, key=lambda block: len(followers[block]))
    behind = followers[name]
    plans = [network.chain.plan({})] + [
        network.chain.plan({name: choice} | dict.fromkeys(behind[:count], DROP))
        for choice in (*everything(network)[name], DROP)
        for count in range(len(behind) + 1)
    ]
    place = [part.name for part in network.parts()].index(name)
    steps = {runner.path(plan)[place]: runner.order(runner.path(plan))[place] for plan in plans}
    assert len(steps) == 2 + len(everything(network)[name]) * (1 + len(behind))
    assert len(set(steps.values())) == len(steps)


def test_a_supernet_begins_with_the_layers_of_single_blocks(opened: Opened) -> None:
    network, images, fits = opened
    shared = supernet(made_like(network), FITS[:1]).eval()
    fit_own_layers(shared, images.split(7), len(images))
    for key, fit in fits.items():
        if key.span == 1 and key.choice == FITS[0]:
            for name, weight in shared.sites[key.block].layer(key.choice).state_dict().items():
                assert name not in fit.weights or torch.equal(weight, fit.weights[name].float())


def test_a_file_has_all_of_them(opened: Opened, tmp_path_factory: pytest.TempPathFactory) -> None:
    _, _, fits = opened
    file = CheckpointFile(tmp_path_factory.mktemp("fits") / "fits.safetensors", "these")
    file.save(as_checkpoint(fits))
    loaded = file.load()
    assert loaded is not None
    found = from_checkpoint(loaded)
    assert found.keys() == fits.keys()
    for key, fit in fits.items():
        assert (found[key].ridge, found[key].error) == (fit.ridge, fit.error)
        assert all(torch.equal(found[key].weights[name], weight) for name, weight in fit.weights.items())


def test_too_few_images_and_numbers_that_are_none_are_refused_by_name() -> None:
    model = made("deit", 0)
    images = images_for(model, torch.float32)
    with pytest.raises(FitError, match="5 images are the fewest"):
        all_fits(OpenNetwork(model, ["fit"]), images[:4])
    broken = made("deit", 0)
    with torch.no_grad():
        broken.get_parameter("blocks.1.mlp.fc1.bias")[0] = float("inf")
    with pytest.raises(FitError, match=r"blocks\.1\.mlp gives numbers that are not finite"):
        fit_at_once(OpenNetwork(broken, ["fit"]), {"blocks.1.mlp": ["fit"]}, [images], len(images))


def test_what_it_costs_is_told_before(opened: Opened) -> None:
    """Of the memory exactly: two sets of sums for every layer, each with a bias and the targets of its spans."""
    network, images, _ = opened
    choices, followers = everything(network), followers_of(network)
    cost = expected_cost(network, choices, images, len(images))
    expected = 0
    for block, ways in choices.items():
        for choice in ways:
            features = way_of(choice, network.sites[block].layer(choice)).features + 1
            targets = network.sites[block].channels * (1 + len(followers[block]))
            expected += 2 * 8 * features * (features + targets)
    assert cost.sums_bytes == expected
    assert cost.seconds > 0
    assert f"{expected / 1e6:,.0f} MB" in cost.text


def test_what_takes_too_much_memory_is_not_offered() -> None:
    assert offered((512, 8, 8), own_depthwise=False) == FITS
    assert offered((513, 8, 8), own_depthwise=False) == ("fit",)
    assert offered((513, 8, 8), own_depthwise=True) == ("fit", "fit-separable")
    assert offered((MOST_FEATURES + 1, 8, 8), own_depthwise=True) == ()
    assert offered((9, MOST_FEATURES + 1), own_depthwise=False) == ()


def test_a_block_that_somebody_changed_is_not_stood_in_for() -> None:
    model = made("deit", 0)
    model.get_submodule("blocks.1.mlp").register_forward_hook(lambda *_: None)
    blocks = {block.name: block for block in describe(model).blocks}
    assert "fit" not in blocks["blocks.1.mlp"].on_request
    assert "fit" in blocks["blocks.0.mlp"].on_request
