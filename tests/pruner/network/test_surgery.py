"""The algebra: the baseline at lambda 1 bit for bit, the merged network at lambda 0 to rounding, over random plans."""

import copy
import itertools
from random import Random

import pytest
import torch
from timm.models.vision_transformer import ParallelScalingBlock
from torch import Tensor, nn

import rounding
from networks import SHAPES, images_for, made, relative_error
from pruner.algebra.steps import Switch
from pruner.choices.plan import Plan
from pruner.choices.site import Site
from pruner.errors import PlanError, UnknownModelError
from pruner.models.load import load_model
from pruner.network.calibration import calibrate, estimate_batch_norm
from pruner.network.surgery import Cut, OpenNetwork, apply, describe, merge, supernet

SEEDS = [0, pytest.param(1, marks=pytest.mark.grid)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lambda_one_is_the_baseline_bit_for_bit(shape: str, seed: int, dtype: torch.dtype) -> None:
    model = made(shape, seed).to(dtype)
    cut = apply(model, random_plan(model, seed)).eval()
    images = images_for(model, dtype)
    assert torch.equal(cut(images), model(images))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_merging_at_lambda_zero_is_exact(shape: str, seed: int, dtype: torch.dtype) -> None:
    model = made(shape, seed).to(dtype)
    cut = closed(model, random_plan(model, seed))
    images = images_for(model, dtype)
    merged = merge(cut)
    # Both are rounded; the fold is too, in float64.
    apart = 2 * rounding.of_a_network(merged, images, dtype) if dtype == torch.float32 else 1e-10
    assert relative_error(merged(images), cut(images)) <= apart < 1e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pieces_in_a_row_are_the_merged_network(shape: str) -> None:
    model = made(shape, 0)
    plan = random_plan(model, 1)
    cut = closed(model, plan)
    flowing = images = images_for(model, torch.float32)
    for piece in cut.pieces(plan):
        flowing = piece.build()(flowing)
    merged = merge(cut)
    assert relative_error(flowing, merged(images)) <= 2 * rounding.of_a_network(merged, images)


def test_keeping_all_merges_to_the_baseline_itself(small_vit: nn.Module) -> None:
    cut = apply(small_vit, Plan(describe(small_vit).model))
    cut.set_lambda(0.0)
    images = images_for(small_vit, torch.float32)
    assert torch.equal(merge(cut.eval())(images), small_vit(images))


def test_surgery_leaves_its_input_alone(small_vit: nn.Module) -> None:
    before = copy.deepcopy(small_vit.state_dict())
    cut = closed(small_vit, random_plan(small_vit, 3))
    unmerged = copy.deepcopy(cut.state_dict())
    merged = merge(cut)
    with torch.no_grad():
        for parameter in merged.parameters():
            parameter.fill_(7.0)
    assert all(torch.equal(small_vit.state_dict()[name], tensor) for name, tensor in before.items())
    assert all(torch.equal(cut.state_dict()[name], tensor) for name, tensor in unmerged.items())


def test_nothing_of_ours_is_left_in_a_merged_network(small_vit: nn.Module) -> None:
    merged = merge(closed(small_vit, random_plan(small_vit, 2)))
    ours = ("pruner", "latency", "profiles", "search", "depthfinder")
    assert not [module for module in merged.modules() if type(module).__module__.partition(".")[0] in ours]


def test_blocks_fall_as_the_plan_says(small_vit: nn.Module) -> None:
    choices = {"blocks.0.mlp": "merge", "blocks.1.attn": "drop", "blocks.2.attn": "drop", "blocks.2.mlp": "drop"}
    merged = merge(closed(small_vit, Plan(describe(small_vit).model, choices)))
    assert list(dict(merged.blocks.named_children())) == ["0", "1"]  # type: ignore[union-attr]
    assert isinstance(merged.get_submodule("blocks.0.mlp"), nn.Linear)
    assert [type(module).__name__ for module in merged.modules()].count("Attention") == 1


def test_the_gate_moves_smoothly(small_vit: nn.Module) -> None:
    cut = apply(small_vit, Plan(describe(small_vit).model, {"blocks.1.mlp": "merge", "blocks.2.attn": "drop"})).eval()
    images = images_for(small_vit, torch.float32)
    outputs = []
    for lam in torch.linspace(1, 0, 201).tolist():
        cut.set_lambda(lam)
        outputs.append(cut(images))
    steps = [relative_error(after, before) for before, after in itertools.pairwise(outputs)]
    whole = relative_error(outputs[-1], outputs[0])
    assert whole > 0.01, "the cut changes nothing: the test would show nothing"
    assert max(steps) < 0.1 * whole


def test_a_half_cut_network_does_not_merge(small_vit: nn.Module) -> None:
    cut = apply(small_vit, random_plan(small_vit, 0))
    with pytest.raises(ValueError, match="lambda 0"):
        merge(cut)
    with pytest.raises(ValueError, match="from 1 to 0"):
        cut.set_lambda(1.5)


def test_a_supernet_shares_weights_between_plans(small_vit: nn.Module) -> None:
    network = supernet(small_vit).eval()
    images = images_for(small_vit, torch.float32)
    model = network.chain.model
    baseline = network(images)
    network.select(Plan(model, {"blocks.1.mlp": "drop"}))
    assert not torch.equal(network(images), baseline)
    network.select(Plan(model))
    assert torch.equal(network(images), baseline)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"blocks.9.mlp": "merge"}, "no block 'blocks.9.mlp'"),
        ({"blocks.0.attn": "merge"}, "offers keep, drop, narrow, thin, narrow-50, fit, not 'merge'"),
        ({"blocks.0.mlp": "fold"}, "offers keep, merge, drop, merge-act, .*, fit, not 'fold'"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(small_vit: nn.Module, choices: dict[str, str], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        apply(small_vit, Plan(describe(small_vit).model, choices))


def test_another_models_plan_is_refused(small_vit: nn.Module) -> None:
    with pytest.raises(PlanError, match="this plan is for resnet18"):
        apply(small_vit, Plan("resnet18"))


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="no block of this Sequential can be cut: it has no branch"):
        describe(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()), input_size=(3, 8, 8))


def test_blocks_of_another_forward_are_not_taken_for_plain_ones() -> None:
    """They are read from what they compute."""
    parallel = load_model("vit_tiny_patch16_224", block_fn=ParallelScalingBlock, depth=1)
    (block,) = describe(parallel).blocks
    assert block.kind == "branch"
    assert block.choices == ("keep", "drop")


def test_statistics_are_the_plain_mean_over_the_batches(small_vit: nn.Module) -> None:
    cut = apply(small_vit, Plan(describe(small_vit).model, {"blocks.0.mlp": "merge"}))
    cut.set_lambda(0.0)
    seen: list[Tensor] = []
    site = cut.sites["blocks.0.mlp"]
    site.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, 1)))
    batches = [images_for(small_vit, torch.float32, seed=seed) for seed in range(3)]
    estimate_batch_norm(cut, batches)
    expected = torch.stack([tokens.mean(0) for tokens in seen]).mean(0)
    torch.testing.assert_close(site.norms[0].running_mean, expected)
    assert site.norms[0].momentum == pytest.approx(0.1)


def random_plan(model: nn.Module, seed: int) -> Plan:
    return describe(model).random_plan(0.6, Random(seed))


def closed(model: nn.Module, plan: Plan) -> OpenNetwork:
    """The cut network at lambda 0 with BatchNorm statistics and weights that are nowhere near their initial values."""
    cut = apply(model, plan)
    cut.set_lambda(0.0)
    dtype = next(model.parameters()).dtype
    estimate_batch_norm(cut, [images_for(model, dtype, seed=seed) for seed in range(2)])
    random = torch.Generator().manual_seed(5)
    for site in cut.sites.values():
        for norm in site.norms:
            norm.eps = 1e-3
            for parameter in (norm.weight, norm.bias):
                parameter.data += 0.3 * torch.randn(parameter.shape, generator=random, dtype=torch.float64).to(dtype)
    assert all(isinstance(site, Site) for site in cut.sites.values())
    return cut.eval()


@pytest.mark.parametrize("shape", ["deit", "layer scale", "convnext", "convnext, channels last"])
def test_a_switch_begins_as_near_to_the_old_norm_as_channels_allow(shape: str) -> None:
    model = made(shape, 0)
    chain = describe(model)
    plan = chain.plan({block.name: "merge" for block in chain.blocks if "merge" in block.choices})
    images = images_for(model, torch.float32)
    cut = apply(model, plan).eval()
    before = copy.deepcopy(model.state_dict())
    calibrate(cut, images.split(2))
    assert torch.equal(cut(images), model(images)), "at lambda 1 it is still the baseline"
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    (switch,) = next(site for site in cut.sites.values() if site.switches()).switches()
    seen: list[Tensor] = []
    hook = switch.batch_norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    cut.set_lambda(0.5)
    with torch.no_grad():
        cut(images)
        hook.remove()
        x = seen[0].double()
        found = switch.batch_norm.double()(x)
        wanted = switch.stands_for(seen[0]).double()
    channels = [tensor.movedim(1, 0).flatten(1) for tensor in (x, found, wanted)]
    for inputs, outputs, aims in zip(*channels, strict=True):
        design = torch.stack([inputs, torch.ones_like(inputs)], dim=1)
        best = design @ torch.linalg.lstsq(design, aims[:, None]).solution
        torch.testing.assert_close(outputs, best[:, 0], rtol=1e-3, atol=1e-3)


def test_an_activation_put_at_the_end_begins_with_what_flows_there() -> None:
    model = made("inverted residual", 0)
    chain = describe(model)
    name = next(block.name for block in chain.blocks if "merge-act" in block.on_request)
    cut = apply(model, chain.plan({name: "merge-act"})).eval()
    images = images_for(model, torch.float32)
    calibrate(cut, [images])
    (switch,) = cut.sites[name].switches()
    x = torch.randn(4, switch.batch_norm.num_features, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(switch.batch_norm(x), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_layers_fall_as_the_plan_says(shape: str, seed: int) -> None:
    model = made(shape, seed)
    plan = random_plan(model, seed)
    chain = describe(model)
    cut = closed(model, plan)
    whole = closed(model, Plan(chain.model))
    assert isinstance(cut, Cut)
    assert isinstance(whole, Cut)
    gone = 0
    live: list[str] = []
    for block in chain.blocks:
        choice = plan.choice_of(block.name)
        before, beside = _layers(whole.sites[block.name].kept), "AvgPool2d" in block.signature
        gone += {"keep": 0, "merge": before - 1 - beside, "separable": before - 2, "shrink": before - 1 - beside}.get(
            choice, before
        )
        live += [choice] if choice != "drop" else []
    in_a_row = sum(pair == ("merge", "merge") for pair in itertools.pairwise(live)) if chain.family == "vit" else 0
    assert _layers(merge(cut)) == _layers(merge(whole)) - gone - in_a_row


def _layers(network: nn.Module) -> int:
    return sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules())


@pytest.mark.parametrize("shape", ["deit", "basic", "bottleneck, deep stem", "inverted residual", "convnext"])
def test_a_merged_network_is_exported_by_torch_export_too(shape: str) -> None:
    model = made(shape, 0)
    merged = merge(closed(model, random_plan(model, 1)))
    images = images_for(model, torch.float32)
    apart = 2 * rounding.of_a_network(merged, images)
    exported = torch.export.export(merged, (images,)).module()
    assert relative_error(exported(images), merged(images)) <= apart
    traced = torch.jit.trace(merged, images)
    assert relative_error(traced(images), merged(images)) <= apart


@pytest.mark.parametrize("name", ["convnextv2_atto", "resnet50_gn", "efficientnet_b0"])
def test_every_module_that_a_form_runs_moves_with_its_network(name: str) -> None:
    network = supernet(load_model(name, img_size=64))
    owned = set(network.modules())
    for site in network.sites.values():
        for step in site._anatomy.branch:
            used = [*step.modules(), *([step.batch_norm] if isinstance(step, Switch) else [])]
            assert owned.issuperset(used)
