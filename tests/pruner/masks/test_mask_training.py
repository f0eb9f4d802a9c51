"""Training into masks: the stages, what a stop does to them, and the files that come of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import torch
from torch import nn

from pruner.data.digits import DigitScenes
from pruner.errors import SettingsError
from pruner.masks.export import masks_file, read_masks, weights_file
from pruner.masks.granularity import parse
from pruner.masks.masked import DECIDED, Masked
from pruner.masks.methods import known_method
from pruner.masks.sparsifying import Sparsifying
from pruner.models.checkpoint import CheckpointFile
from pruner.models.load import load_model
from pruner.models.weights_file import read_weights
from pruner.progress import silent
from pruner.training.loop import fit
from pruner.training.settings import Optimizing, TrainSettings
from pruner.training.train_step import TrainStep

DATA = DigitScenes(train_images=64, calibration_images=16, test_images=16)
SETTINGS = TrainSettings(epochs=4, batch_size=16, optimizing=Optimizing(lr=1e-3), seed=3)


class KilledError(Exception):
    """Stands for whatever ends a training."""


def killed_after(steps: int) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, note: str) -> None:
        if done == steps:
            raise KilledError

    return progress


def objective(method: str, granularity: str = "8x4") -> Sparsifying:
    sparsity = None if ":" in granularity else 0.5
    return Sparsifying(Masked(small(), parse(granularity), sparsity, known_method(method)))


def small() -> nn.Module:
    torch.manual_seed(5)
    kwargs = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 10}
    return load_model("deit_tiny_patch16_224", **kwargs)


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("method", "granularity", "stops"),
    [
        ("smart", "8x4", (8,)),
        *(pytest.param(name, "8x4", (8,), marks=pytest.mark.grid) for name in ("pdp", "awg", "pas")),
        ("acdc", "8x4", (2, 8)),
        ("smart", "2:4", (10,)),
        ("awg", "channels", (3, 10)),
    ],
)
def test_a_training_that_was_stopped_ends_bit_for_bit_the_same(
    method: str, granularity: str, stops: tuple[int, ...], tmp_path: Path
) -> None:
    undisturbed = objective(method, granularity)
    epochs = fit(undisturbed, DATA, SETTINGS, CheckpointFile(tmp_path / "a", "x"), silent)
    for stop in stops:
        with pytest.raises(KilledError):
            fit(objective(method, granularity), DATA, SETTINGS, CheckpointFile(tmp_path / "b", "x"), killed_after(stop))
    interrupted = objective(method, granularity)
    again = fit(interrupted, DATA, SETTINGS, CheckpointFile(tmp_path / "b", "x"), silent)
    expected = undisturbed.network.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in interrupted.network.state_dict().items())
    assert [(one.loss, one.accuracy) for one in again] == [(one.loss, one.accuracy) for one in epochs]
    assert int(undisturbed.network.phase) == DECIDED
    total = sum(part.entries for part in undisturbed.network.parts)
    assert sum(int(mask.sum()) for mask in undisturbed.network.support().values()) == total - round(total / 2)


def test_masks_are_decided_once_and_stay_for_the_rest() -> None:
    """From its share of the training on, the masks are hard; before that, soft."""
    training = objective("smart")
    images, targets = next(iter(DATA.train_batches(epoch=0, batch_size=16, seed=0)))
    training(images, targets, TrainStep(5, 10, 0))
    assert training.network.searched == pytest.approx(0.5 / 0.6)
    assert int(training.network.phase) == 0
    training(images, targets, TrainStep(6, 10, 0))
    assert training.network.searched is None
    decided = {key: mask.clone() for key, mask in training.network.support().items()}
    with torch.no_grad():
        for mask in training.network.masks.values():
            mask.copy_(-mask)
    training(images, targets, TrainStep(7, 10, 0))
    assert all(torch.equal(mask, decided[key]) for key, mask in training.network.support().items())
    assert training.note(TrainStep(3, 10, 0)) == "50% searched"
    assert training.note(TrainStep(9, 10, 0)) == "masks decided"


def test_a_training_of_a_few_steps_ends_under_hard_masks() -> None:
    images, targets = next(iter(DATA.train_batches(epoch=0, batch_size=16, seed=0)))
    for method in ("smart", "pdp", "acdc", "awg", "magnitude"):
        training = objective(method)
        training(images, targets, TrainStep(0, 1, 0))
        assert int(training.network.phase) == DECIDED
        assert not all(bool(mask.all()) for mask in training.network.support().values())


def test_an_epoch_is_judged_under_the_masks_of_its_moment() -> None:
    training = objective("smart")
    training.on_evaluate(training.network, TrainStep(3, 10, 0))
    assert training.network.searched == pytest.approx(0.5)
    training.on_evaluate(training.network, TrainStep(6, 10, 0))
    assert training.network.searched == 1.0, "they are decided with the next step"
    training.network.enter(DECIDED)
    training.on_evaluate(training.network, TrainStep(10, 10, 0))
    assert training.network.searched is None


def test_masks_learn_at_a_rate_of_their_own_and_the_penalty_counts() -> None:
    images, targets = next(iter(DATA.train_batches(epoch=0, batch_size=16, seed=0)))
    pas = objective("pas")
    loss = pas(images, targets, TrainStep(0, 10, 0))
    logits = pas.network(images)
    penalty = known_method("pas").penalty(pas.network, 0.0)
    assert penalty is not None
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, targets) + penalty)
    assert float(penalty) > 1
    assert pas.network.mask_lr_scale == known_method("pas").mask_lr_scale


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_there_is_time_to_search_and_time_to_train(share: float) -> None:
    network = objective("smart").network
    with pytest.raises(SettingsError, match=r"in \(0, 1\)"):
        Sparsifying(network, search_share=share)


@pytest.mark.parametrize("granularity", ["8x5", "2:4"])
def test_masked_weights_and_masks_are_read_back(granularity: str, tmp_path: Path) -> None:
    masked = objective("magnitude", granularity).network
    masked.enter(1)
    masked.enter(DECIDED)
    (tmp_path / "w.safetensors").write_bytes(weights_file(masked, {}))
    (tmp_path / "m").write_bytes(masks_file(masked))
    weights, masks = read_weights(tmp_path / "w.safetensors"), read_masks(tmp_path / "m")
    assert weights.keys() == masked.network.state_dict().keys()
    assert masks.keys() == {part.weight for part in masked.parts}
    for name, mask in masks.items():
        original = masked.network.get_parameter(name)
        assert mask.dtype == torch.bool
        assert mask.shape == original.shape
        assert torch.equal(weights[name], original * mask)
        assert not bool(mask.all())
    with safetensors.safe_open(tmp_path / "m", framework="pt") as file:
        about = json.loads(file.metadata()["depthfinder"])
    assert (about["method"], about["granularity"]) == ("magnitude", granularity)
    assert about["layout"] == "depthfinder masks 1"
