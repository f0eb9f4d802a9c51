"""What a supernet's step trains: the plans that are drawn, and what of the weights may move."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor, nn

from networks import images_for, made
from pruner.choices.choice import MERGE
from pruner.choices.plan import Plan
from pruner.data.digits import DigitScenes
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import apply, describe, supernet
from pruner.progress import silent
from pruner.training.loop import fit
from pruner.training.objective import divergence, task_loss
from pruner.training.settings import Optimizing, TrainSettings
from pruner.training.supernet import (
    RandomPlans,
    Sandwich,
    SupernetObjective,
    freeze_backbone,
    most_pruned,
    trainable,
)
from pruner.training.train_step import TrainStep

DATA = DigitScenes(train_images=64, calibration_images=40, test_images=40)


def test_a_sandwich_is_the_most_pruned_plan_and_others() -> None:
    chain = describe(made("digits", seed=0))
    drawn = Sandwich(chain, RandomPlans(chain, 2))(Random(3))
    assert len(drawn) == 3
    assert drawn[0] == most_pruned(chain) == Plan(chain.model, {block.name: "drop" for block in chain.blocks})
    assert drawn[1:] == RandomPlans(chain, 2)(Random(3))
    assert drawn[1] != drawn[2]


def test_a_step_trains_the_uncut_network_and_each_plan_that_is_drawn() -> None:
    network = supernet(made("digits", seed=0))
    asked: list[Plan] = []
    network.register_forward_pre_hook(
        lambda module, _inputs: asked.append(Plan(module.chain.model, {n: s.choice for n, s in module.sites.items()}))
    )
    plans = [Plan(network.chain.model, {"blocks.0.mlp": MERGE}), Plan(network.chain.model, {"blocks.1.attn": "drop"})]
    objective = SupernetObjective(network, lambda _random: plans)
    ((images, labels),) = DATA.train_batches(epoch=0, batch_size=64, seed=0)
    loss = objective(images, labels, TrainStep(0, 1, 0))
    assert asked == [Plan(network.chain.model), *plans]
    alone = SupernetObjective(network, lambda _random: [])(images, labels, TrainStep(0, 1, 0))
    assert loss > alone > 0


def test_what_a_plan_learns_from_the_uncut_network_does_not_move_that() -> None:
    network = supernet(made("digits", seed=0)).eval()
    plan = Plan(network.chain.model, {"blocks.3.mlp": "drop"})
    ((images, labels),) = DATA.train_batches(epoch=0, batch_size=64, seed=0)

    def gradient(loss: Callable[[], Tensor]) -> Tensor:
        network.zero_grad()
        loss().backward()
        found = network.get_parameter("network.head.weight").grad
        assert found is not None
        return found.clone()

    def answers(choice: Plan) -> Tensor:
        network.select(choice)
        logits: Tensor = network(images)
        return logits

    whole = answers(Plan(network.chain.model)).detach()
    both = gradient(lambda: SupernetObjective(network, lambda _random: [plan])(images, labels, TrainStep(0, 1, 0)))
    of_labels = gradient(lambda: task_loss(answers(Plan(network.chain.model)), labels))
    of_plan = gradient(lambda: task_loss(cut := answers(plan), labels) + divergence(cut, whole, 2.0))
    torch.testing.assert_close(both, of_labels + of_plan)


def test_a_frozen_backbone_moves_new_batch_norms_and_biases_alone(tmp_path: Path) -> None:
    network = supernet(made("digits", seed=0))
    freeze_backbone(network)
    before = {name: tensor.clone() for name, tensor in network.named_parameters()}
    assert 0 < trainable(network) < 0.1 * sum(parameter.numel() for parameter in network.parameters())
    settings = TrainSettings(1, 16, optimizing=Optimizing(lr=1e-2, weight_decay=0.1))
    chain = network.chain
    draw = RandomPlans(chain, 2)
    fit(SupernetObjective(network, draw), DATA, settings, CheckpointFile(tmp_path / "x.safetensors", "x"), silent)
    moved = {name for name, tensor in network.named_parameters() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.endswith("bias") or ".norms." in name for name in moved)
    assert any(".norms." in name for name in moved)


@pytest.mark.parametrize("shape", ["digits", "basic", "inverted residual", "convnext"])
def test_the_most_pruned_plan_leaves_least(shape: str) -> None:
    chain = describe(made(shape, seed=0))
    plan = most_pruned(chain)
    assert all(plan.choice_of(block.name) == "drop" for block in chain.blocks if "drop" in block.choices)
    assert len(plan.choices) == sum(len(block.choices) > 1 for block in chain.blocks)


@pytest.mark.parametrize(("shape", "choice"), [("basic", "merge"), ("basic", "shrink"), ("inverted residual", "merge")])
def test_each_way_of_cutting_keeps_statistics_of_its_own(shape: str, choice: str) -> None:
    model = made(shape, seed=0)
    network = supernet(model)
    name = next(block.name for block in network.chain.blocks if choice in block.choices)
    plan = Plan(network.chain.model, {name: choice})
    images = images_for(model, torch.float32)
    shared = apply(model, plan)
    shared.set_lambda(0.0)
    network.select(plan)
    torch.testing.assert_close(network.eval()(images), shared.eval()(images))

    own = {key for key, _ in network.named_buffers() if f"{name}.norms." in key}
    before = {key: buffer.clone() for key, buffer in network.named_buffers()}
    network.train()(2 * images)
    changed = {key for key, buffer in network.named_buffers() if not torch.equal(buffer, before[key])}
    inside = {key for key in changed if f".{name}." in key}
    assert inside
    assert inside <= own
    network.eval().select(Plan(network.chain.model))
    kept = network.sites[name].kept.state_dict()
    assert all(torch.equal(tensor, kept[key]) for key, tensor in model.get_submodule(name).state_dict().items())

    network.select(plan)
    merged = network.sites[name].merged(choice)
    assert merged is not None
    x = torch.randn(2, *_input_shape(network, name, images), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(merged.eval()(x), network.sites[name](x), rtol=1e-3, atol=1e-4)


def _input_shape(network: nn.Module, name: str, images: Tensor) -> tuple[int, ...]:
    seen: list[tuple[int, ...]] = []
    site = network.sites[name]  # type: ignore[index,union-attr]
    hook = site.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[1:])))  # type: ignore[union-attr]
    network(images)
    hook.remove()
    return seen[0]
