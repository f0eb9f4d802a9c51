"""Merged blocks that start from fitted layers, and layers that learn block by block."""

from random import Random

import pytest
import torch
from torch import nn

from networks import images_for, in_a_row, made, relative_error
from pruner.choices.choice import DROP, FIT, FITS, FOLDS, MERGE
from pruner.choices.plan import Plan
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.network.calibration import calibrate
from pruner.network.surgery import apply, describe, merge
from pruner.training.blockwise import BlockTeaching, taught_blocks
from pruner.training.objective import Teaching, light_copy
from pruner.training.pairs import learn_as_one, learn_as_pairs
from pruner.training.progressive import Progressive
from pruner.training.train_step import TrainStep

FAMILIES = ("deit", "basic", "bottleneck", "inverted residual", "convnext", "convnext, channels last")


def network(family: str) -> nn.Module:
    return made(family, 0) if family.startswith("convnext") else in_a_row(family)


def folding(model: nn.Module, seed: int = 0) -> Plan:
    """Every block that folds does, in a way drawn at random."""
    random, chain = Random(seed), describe(model)
    ways = {block.name: [c for c in block.choices if c in FOLDS] for block in chain.blocks}
    return chain.plan({name: random.choice(choices) for name, choices in ways.items() if choices})


@pytest.mark.parametrize("shape", FAMILIES)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.grid)])
def test_it_is_the_baseline_at_one_and_merges_exactly_at_zero(shape: str, seed: int) -> None:
    model = network(shape).double()
    images = images_for(model, torch.float64)
    cut = apply(model, folding(model, seed), merge_init="fitted").eval()
    with torch.no_grad():
        assert torch.equal(cut(images), model(images))
        calibrate(cut, [images])
        fit_in_sequence(cut, [images])
        cut.set_lambda(0.0)
        assert cut.layers
        assert relative_error(merge(cut)(images), cut(images)) <= 1e-10


@pytest.mark.parametrize("shape", FAMILIES)
def test_what_it_merges_to_has_the_shape_of_what_is_folded(shape: str) -> None:
    model = network(shape)
    plan, sizes = folding(model), []
    for start in ("folded", "fitted"):
        cut = apply(model, plan, merge_init=start).eval()  # type: ignore[arg-type]
        cut.set_lambda(0.0)
        sizes.append({name: tensor.shape for name, tensor in merge(cut).state_dict().items()})
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("shape", FAMILIES)
def test_it_is_a_better_start(shape: str) -> None:
    """On the images that it was fitted on: nearer to the baseline's answers than the calibrated folded network."""
    model = network(shape)
    images, plan, off = images_for(model, torch.float32), folding(model), {}
    for start in ("folded", "fitted"):
        cut = apply(model, plan, merge_init=start).eval()  # type: ignore[arg-type]
        calibrate(cut, [images])
        cut.set_lambda(0.0)
        fit_in_sequence(cut, [images])
        with torch.no_grad():
            off[start] = relative_error(cut(images), model(images))
    assert off["fitted"] < off["folded"]


def test_gates_of_fitted_layers_are_closed_from_the_first_step_on() -> None:
    model = made("deit", 0)
    chain = describe(model)
    plan = chain.plan({"blocks.0.attn": FIT, "blocks.0.mlp": DROP, "blocks.1.mlp": MERGE, "blocks.2.attn": DROP})
    cut = apply(model, plan, merge_init="folded")
    objective = Progressive(cut, None)
    images = images_for(model, torch.float32)
    objective(images, torch.zeros(len(images), dtype=torch.int64), TrainStep(0, 10, 0))
    assert {name: cut.sites[name].lam for name in plan.choices} == {
        "blocks.0.attn": 0.0,
        "blocks.0.mlp": 0.0,  # what it did is the layer's work now
        "blocks.1.mlp": 1.0,
        "blocks.2.attn": 1.0,
    }


def test_a_block_is_taught_by_the_last_of_its_span() -> None:
    model = made("deit", 0)
    plan = describe(model, FITS).plan(
        {"blocks.0.attn": FIT, "blocks.0.mlp": DROP, "blocks.1.attn": DROP, "blocks.1.mlp": MERGE, "blocks.2.mlp": DROP}
    )
    assert taught_blocks(apply(model, plan)) == {"blocks.0.attn": "blocks.1.attn", "blocks.1.mlp": "blocks.1.mlp"}


def test_what_blocks_are_off_by_is_added_to_what_the_answers_are() -> None:
    model = made("deit", 0)
    images = images_for(model, torch.float32)
    plan = describe(model, FITS).plan({"blocks.1.mlp": FIT, "blocks.0.attn": DROP})
    cut, teacher = apply(model, plan).train(), light_copy(model)
    answers, blocks = Teaching(teacher), BlockTeaching(cut, light_copy(model), block_weight=3.0)
    logits = cut(images)  # the baseline still
    assert float(blocks(images, logits).detach()) == pytest.approx(float(answers(images, logits).detach()), abs=1e-5)
    cut.set_lambda(0.0)
    logits = cut(images)
    wanted, found = [], []
    hooks = [
        model.get_submodule("blocks.1").register_forward_hook(lambda _m, _i, output: wanted.append(output)),
        cut.sites["blocks.1.mlp"].register_forward_hook(lambda _m, _i, output: found.append(output)),
    ]
    model(images), cut(images)
    for hook in hooks:
        hook.remove()
    off = (found[0] - wanted[0]).square().sum() / wanted[0].square().sum()
    loss = blocks(images, logits)
    assert float(loss.detach()) == pytest.approx(float((answers(images, logits) + 3 * off).detach()), rel=1e-4)
    loss.backward()
    gradient = cut.layers["blocks.1.mlp"].weight.grad
    assert isinstance(gradient, torch.Tensor)
    assert gradient.any()


IMAGE_FAMILIES = tuple(family for family in FAMILIES if family != "deit")


@pytest.mark.parametrize("shape", IMAGE_FAMILIES)
def test_automatically_images_start_fitted_and_tokens_folded(shape: str) -> None:
    for family, start in ((shape, "fitted"), ("deit", "folded")):
        model = network(family)
        plan = folding(model)
        layers = [apply(model, plan, merge_init=how).layers.keys() for how in ("auto", start)]  # type: ignore[arg-type]
        assert layers[0] == layers[1]
        assert bool(layers[0]) == (start == "fitted")


@pytest.mark.parametrize("shape", IMAGE_FAMILIES)
def test_pairs_compute_what_the_convolutions_do_and_become_one_again(shape: str) -> None:
    model = network(shape).double()
    images = images_for(model, torch.float64)
    cut = apply(model, folding(model), merge_init="fitted").eval()
    calibrate(cut, [images])
    fit_in_sequence(cut, [images])
    cut.set_lambda(0.0)
    with torch.no_grad():
        before, names = cut(images), list(cut.state_dict())
    learn_as_pairs(cut)
    learned = [name for name, _ in cut.named_parameters() if "parametrizations" in name]
    assert len(learned) == 2 * sum(name.endswith("original0") for name in learned) > 0
    with torch.no_grad():
        assert relative_error(cut(images), before) <= 1e-10
    # Both of a pair learn, the weights move, and what is learned is what is merged.
    cut(images).square().mean().backward()
    for name, parameter in cut.named_parameters():
        if name in learned:
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0
            parameter.data -= 0.01 * parameter.grad
    with torch.no_grad():
        after = cut(images)
        assert relative_error(after, before) > 1e-6
        learn_as_one(cut)
        assert sorted(cut.state_dict()) == sorted(names)
        assert relative_error(cut(images), after) <= 1e-10
        assert relative_error(merge(cut)(images), after) <= 1e-10


def test_pairs_are_the_same_in_every_process_that_makes_them() -> None:
    model = network("basic")
    plan = folding(model)
    states = []
    for seed in (0, 1):
        cut = apply(model, plan, merge_init="fitted")
        torch.manual_seed(seed)
        learn_as_pairs(cut)
        states.append(cut.state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
