"""Each setting of a training does what timm's users know by its name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import rounding
from networks import made
from pruner.data.digits import DigitScenes
from pruner.errors import SettingsError
from pruner.models.checkpoint import Checkpoint, CheckpointFile
from pruner.network.surgery import supernet
from pruner.progress import silent
from pruner.training.curve import Epoch
from pruner.training.loop import fit
from pruner.training.objective import Supervised, Teaching, frozen, light_copy
from pruner.training.optimizing import make_optimizer, make_scheduler
from pruner.training.settings import AmpDtype, Mixing, Optimizing, Precision, TrainSettings
from pruner.training.state import optimizer_state, restore_optimizer
from pruner.training.train_step import TrainStep
from pruner.training.world import World, alone

DATA = DigitScenes(train_images=64, calibration_images=40, test_images=40)
SETTINGS = TrainSettings(epochs=1, batch_size=16, seed=1, optimizing=Optimizing(lr=1e-3))


def trained(folder: Path, settings: TrainSettings, world: World | None = None) -> tuple[nn.Module, tuple[Epoch, ...]]:
    objective = Supervised(made("digits", seed=0))
    name = f"{abs(hash(settings))}-{world}.safetensors".replace("/", "-")
    epochs = fit(objective, DATA, settings, CheckpointFile(folder / name, "x"), silent, world=world)
    return objective.network, epochs


def flat(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def assert_the_same_training(one: nn.Module, other: nn.Module) -> None:
    """The weights have moved the same way: a step is a sum over the 17 tokens of 16 images, and there were 4."""
    moved = (flat(one) - flat(made("digits", seed=0))).abs().max()
    assert moved > 1e-3
    assert (flat(one) - flat(other)).abs().max() < rounding.of_a_sum(4 * 16 * 17, float(moved))


def test_a_batch_in_parts_is_the_same_step(tmp_path: Path) -> None:
    """By SGD, whose steps are as long as the gradient: Adam's are as long where it is nothing but rounding errors."""
    plain = replace(SETTINGS, optimizing=Optimizing(opt="sgd", lr=1e-2, momentum=0.5))
    whole, _ = trained(tmp_path, plain)
    parts, _ = trained(tmp_path, replace(plain, optimizing=replace(plain.optimizing, grad_accum_steps=4)))
    assert_the_same_training(whole, parts)


@pytest.mark.parametrize(
    "settings",
    [
        replace(SETTINGS, mixing=Mixing(mixup=0.8, cutmix=1.0, smoothing=0.1)),
        replace(SETTINGS, precision=Precision(amp="bfloat16")),
        replace(SETTINGS, optimizing=Optimizing(opt="sgd", lr=1e-2, momentum=0.5)),
        replace(SETTINGS, optimizing=Optimizing(opt="lamb", lr=1e-3, sched="step", clip_mode="agc", clip_grad=0.02)),
        replace(SETTINGS, ema_decay=0.5),
    ],
    ids=["mixed", "bf16", "sgd", "lamb", "average"],
)
def test_every_setting_changes_the_training_and_ends_bit_for_bit_alike_when_interrupted(
    settings: TrainSettings, tmp_path: Path
) -> None:
    plain, _ = trained(tmp_path, SETTINGS)
    network = assert_interrupted_it_ends_bit_for_bit_alike(settings, tmp_path)
    assert not torch.equal(flat(network), flat(plain))


def assert_interrupted_it_ends_bit_for_bit_alike(settings: TrainSettings, tmp_path: Path) -> nn.Module:
    """On one machine, with one number of threads and one memory layout."""
    network, (epoch,) = trained(tmp_path, settings)
    again = Supervised(made("digits", seed=0))
    file = CheckpointFile(tmp_path / "again.safetensors", "x")

    def stop(done: int, _total: int, _note: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(again, DATA, settings, file, stop)
    again = Supervised(made("digits", seed=0))
    (resumed,) = fit(again, DATA, settings, file, silent)
    assert torch.equal(flat(network), flat(again.network))
    assert resumed.loss == epoch.loss
    return network


def test_channels_last_is_the_same_training_in_another_memory_layout(tmp_path: Path) -> None:
    """Which may round otherwise or not, as the processor's libraries have it."""
    plain = replace(SETTINGS, optimizing=Optimizing(opt="sgd", lr=1e-2, momentum=0.5))
    settings = replace(plain, precision=Precision(channels_last=True))
    objective = Supervised(made("digits", seed=0))
    embed = objective.network.patch_embed.proj
    laid: list[tuple[bool, bool]] = []

    def note(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        laid.append(tuple(one.is_contiguous(memory_format=torch.channels_last) for one in (inputs[0], embed.weight)))

    embed.register_forward_pre_hook(note)
    fit(objective, DATA, settings, CheckpointFile(tmp_path / "x.safetensors", "x"), silent)
    assert laid[:4] == [(True, True)] * 4
    assert_the_same_training(trained(tmp_path, plain)[0], objective.network)
    assert_interrupted_it_ends_bit_for_bit_alike(settings, tmp_path)


def test_what_an_optimizer_remembers_comes_back_in_the_layout_of_its_weights(tmp_path: Path) -> None:
    layer = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    asked = Optimizing(lr=1e-3)
    optimizer = make_optimizer(layer, asked)
    layer(images).square().sum().backward()
    optimizer.step()
    tensors, facts = optimizer_state(optimizer)
    file = CheckpointFile(tmp_path / "x.safetensors", "x")
    file.save(Checkpoint(1, tensors, {"optimizer": facts}))
    again, saved = make_optimizer(layer, asked), file.load()
    assert saved is not None
    restore_optimizer(again, saved)
    for key in ("exp_avg", "exp_avg_sq"):
        before, after = optimizer.state[layer.weight][key], again.state[layer.weight][key]
        assert torch.equal(before, after)
        assert before.stride() == after.stride() == layer.weight.stride()


def test_the_average_of_the_weights_is_what_a_training_ends_with(tmp_path: Path) -> None:
    settings = replace(SETTINGS, ema_decay=0.9)
    network, _ = trained(tmp_path, settings)
    plain, _ = trained(tmp_path, SETTINGS)
    begun = made("digits", seed=0)
    assert (flat(network) - flat(begun)).norm() < 0.9 * (flat(plain) - flat(begun)).norm()


def test_layers_far_from_the_head_learn_more_slowly() -> None:
    network = supernet(made("digits", seed=0))
    optimizer = make_optimizer(network, Optimizing(lr=1e-3, layer_decay=0.5))
    make_scheduler(optimizer, Optimizing(lr=1e-3, warmup_epochs=0), 2, 10).step_update(0)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    found = [rates[id(network.get_parameter(f"network.blocks.{i}.mlp.kept.branch.mlp.fc1.weight"))] for i in range(4)]
    assert found == pytest.approx([found[3] / 8, found[3] / 4, found[3] / 2, found[3]])
    assert rates[id(network.get_parameter("network.head.weight"))] == pytest.approx(1e-3)


def test_decay_is_for_matrices() -> None:
    network = made("basic", seed=0)
    groups = make_optimizer(network, Optimizing(weight_decay=0.3)).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(p) for p in network.parameters() if p.ndim > 1}


def test_the_learning_rate_rises_and_falls_by_the_step_alone() -> None:
    asked = Optimizing(lr=1.0, warmup_epochs=1, warmup_lr=0.1, min_lr=0.01)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make_scheduler(optimizer, asked, epochs=4, per_epoch=10)

    def rate(step: int) -> float:
        scheduler.step_update(step)
        return float(optimizer.param_groups[0]["lr"])

    rates = [rate(step) for step in range(40)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) > 0.8
    assert rates[39] < 0.03
    assert rate(20) == rates[20]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Optimizing(opt="adamm"), "timm makes no optimizer of --opt adamm"),
        (Optimizing(sched="plateau"), "goes by accuracy, which a step does not know"),
    ],
)
def test_what_timm_cannot_make_is_named(asked: Optimizing, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_scheduler(make_optimizer(made("digits", seed=0), asked), asked, 1, 1)


@pytest.mark.parametrize("copied", [frozen, light_copy])
def test_a_teacher_answers_as_the_network_does_and_never_learns(copied: Callable[[nn.Module], nn.Module]) -> None:
    network = made("inverted residual", seed=0)
    teaching = Teaching(copied(network), temperature=3.0, weight=2.0).train()
    images = torch.randn(4, 3, 31, 44, generator=torch.Generator().manual_seed(0))
    answers = network(images)
    assert float(teaching(images, answers)) < 1e-6
    other = Supervised(network, teaching, smoothing=0.1)
    loss = other(images, torch.tensor([0, 1, 2, 3]), TrainStep(0, 1, 0))
    loss.backward()
    assert all(parameter.grad is None for parameter in teaching.parameters())
    assert float(teaching(images, answers.roll(1, 0))) > 0.01
    with pytest.raises(AssertionError, match="a teacher does not learn"):
        Teaching(network)


def test_epochs_tell_how_it_went(tmp_path: Path) -> None:
    seen: list[int] = []
    objective = Supervised(made("digits", seed=0))
    file = CheckpointFile(tmp_path / "x.safetensors", "x")
    settings = replace(SETTINGS, epochs=3)
    epochs = fit(objective, DATA, settings, file, silent, watcher=lambda so_far: seen.append(len(so_far)))
    assert seen == [1, 2, 3]
    assert [epoch.index for epoch in epochs] == [1, 2, 3]
    assert all(epoch.images_per_s == pytest.approx(64 / epoch.seconds) for epoch in epochs)
    assert epochs[0].seconds_left == pytest.approx(2 * epochs[0].seconds)
    assert epochs[2].lr < epochs[1].lr
    assert 0 <= epochs[2].accuracy <= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA or ROCm device is here")
@pytest.mark.parametrize("amp", ["float16", "bfloat16", None])
def test_a_gpu_trains_as_the_processor_does(amp: AmpDtype | None, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=2, precision=Precision(amp=amp, channels_last=True))
    on_gpu, gpu_epochs = trained(tmp_path, settings, world=alone("cuda"))
    _, cpu_epochs = trained(tmp_path, replace(SETTINGS, epochs=2))
    assert next(on_gpu.parameters()).device.type == "cuda"
    tolerance = 1e-3 if amp is None else 0.05
    for one, other in zip(gpu_epochs, cpu_epochs, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=tolerance)
    again, resumed = trained(tmp_path, settings, world=alone("cuda"))
    assert torch.equal(flat(on_gpu), flat(again))
    assert resumed == gpu_epochs
