"""Training that can be left at any step and taken up again, and what it does to gates and statistics."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from networks import made
from pruner.choices.plan import Plan
from pruner.data.digits import DigitScenes
from pruner.errors import TrainingError
from pruner.models.checkpoint import CheckpointFile
from pruner.models.load import load_model
from pruner.network.surgery import apply, describe, supernet
from pruner.progress import silent
from pruner.training.accuracy import accuracy
from pruner.training.loop import fit
from pruner.training.objective import Objective, Teaching, light_copy
from pruner.training.progressive import Progressive, finalize
from pruner.training.settings import Optimizing, TrainSettings
from pruner.training.supernet import SupernetObjective
from pruner.training.train_step import TrainStep

DATA = DigitScenes(train_images=96, calibration_images=64, test_images=64)
SETTINGS = TrainSettings(epochs=2, batch_size=16, optimizing=Optimizing(lr=1e-3), seed=3)
STEPS = 12


class KilledError(Exception):
    """Stands for whatever ends a training."""


def killed_after(steps: int) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, note: str) -> None:
        assert total == STEPS
        if done == steps:
            raise KilledError

    return progress


def digits_vit() -> nn.Module:
    return made("digits", seed=0)


def a_supernet() -> Objective:
    return SupernetObjective(supernet(digits_vit()))


def a_cut() -> Progressive:
    baseline = digits_vit()
    cut = apply(baseline, Plan(describe(baseline).model, {"blocks.0.mlp": "merge", "blocks.1.attn": "drop"}))
    return Progressive(cut, Teaching(light_copy(baseline)))


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("make", [a_supernet, a_cut])
@pytest.mark.parametrize(
    "stops", [pytest.param((1,), marks=pytest.mark.grid), (5, 7), pytest.param((6, 11), marks=pytest.mark.grid)]
)
def test_a_training_that_was_stopped_ends_bit_for_bit_the_same(
    make: Callable[[], Objective],
    stops: tuple[int, ...],
    tmp_path: Path,
) -> None:
    undisturbed = make()
    epochs = fit(undisturbed, DATA, SETTINGS, CheckpointFile(tmp_path / "a.safetensors", "x"), silent)
    for stop in stops:
        with pytest.raises(KilledError):
            fit(make(), DATA, SETTINGS, CheckpointFile(tmp_path / "b.safetensors", "x"), killed_after(stop))
    interrupted = make()
    again = fit(interrupted, DATA, SETTINGS, CheckpointFile(tmp_path / "b.safetensors", "x"), silent)
    expected = undisturbed.network.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in interrupted.network.state_dict().items())
    assert [(one.loss, one.accuracy, one.lr) for one in again] == [(one.loss, one.accuracy, one.lr) for one in epochs]
    assert not torch.equal(expected["network.head.weight"], digits_vit().state_dict()["head.weight"])


def test_a_loss_that_is_no_number_stops_the_training_and_keeps_the_last_state(tmp_path: Path) -> None:
    class Bad(Progressive):
        def forward(self, images: Tensor, targets: Tensor, train_step: TrainStep) -> Tensor:
            return super().forward(images, targets, train_step) * float("nan")

    good = a_cut()
    checkpoints = CheckpointFile(tmp_path / "c.safetensors", "x")
    with pytest.raises(KilledError):
        fit(good, DATA, SETTINGS, checkpoints, killed_after(4))
    with pytest.raises(TrainingError, match="nan at step 4"):
        fit(Bad(good.network, None), DATA, SETTINGS, checkpoints, silent)
    saved = checkpoints.load()
    assert saved is not None
    assert saved.step == 4


def test_closing_leaves_a_network_that_can_be_merged() -> None:
    cut = a_cut().network
    finalize(cut, DATA, SETTINGS)
    assert cut.lam == 0.0
    assert not torch.equal(cut.sites["blocks.0.mlp"].norms[0].running_var, torch.ones(24))


@pytest.mark.grid
def test_progressive_training_wins_back_what_the_cut_lost(tmp_path: Path) -> None:
    baseline = load_model("deit_digits", pretrained=True)
    plan = Plan("deit_digits", {f"blocks.{index}.mlp": "merge" for index in range(2, 9)})
    data = DigitScenes(train_images=352, test_images=200)
    settings = TrainSettings(epochs=1, batch_size=32)
    untrained, cut = apply(baseline, plan), apply(baseline, plan)
    finalize(untrained, data, settings)
    objective = Progressive(cut, Teaching(light_copy(baseline)))
    fit(objective, data, settings, CheckpointFile(tmp_path / "d.safetensors", "x"), silent)
    finalize(cut, data, settings)
    lost = accuracy(untrained, data.test_batches(batch_size=100))
    assert accuracy(cut, data.test_batches(batch_size=100)) > lost + 0.1


def test_accuracy_counts_every_image_once() -> None:
    class Right(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images

    labels = torch.tensor([0, 1, 2, 1, 0])
    logits = nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 1]), 3).float()
    batches = list(zip(logits.split(2), labels.split(2), strict=True))
    assert accuracy(Right(), batches) == pytest.approx(3 / 5)
