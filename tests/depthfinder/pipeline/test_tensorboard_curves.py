"""Curves for TensorBoard, read back by the real package; and what is said where it is missing."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from commands import Command
from curves import points
from depthfinder.pipeline.tensorboard import TensorBoardCurves
from pruner.training.curve import Epoch

FIRST = Epoch(index=1, epochs=4, loss=2.5, lr=0.125, accuracy=0.25, seconds=1.0, images_per_s=64.0)
EPOCHS = tuple(replace(FIRST, index=index, loss=2.5 / index) for index in (1, 2, 3, 4))


def train(folder: Path, first: int, last: int) -> None:
    """One process that takes a training up after epoch `first - 1` and is stopped after epoch `last`."""
    curves = TensorBoardCurves(folder)
    for done in range(first, last + 1):
        curves(EPOCHS[:done])
    curves.close()


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(step, pytest.approx(loss)) for step, loss in points(folder)["loss"]]


def test_every_epoch_is_a_point(tmp_path: Path) -> None:
    train(tmp_path, 1, 4)
    assert losses(tmp_path) == [(one.index, one.loss) for one in EPOCHS]
    assert set(points(tmp_path)) == {"loss", "accuracy", "lr", "images_per_s"}


def test_a_training_that_was_taken_up_again_has_every_point_once(tmp_path: Path) -> None:
    train(tmp_path, 1, 3)  # and was killed before the state after epoch 2 was saved
    train(tmp_path, 2, 3)
    train(tmp_path, 4, 4)
    assert losses(tmp_path) == [(one.index, one.loss) for one in EPOCHS]


def test_epochs_from_before_it_was_asked_for_are_there(tmp_path: Path) -> None:
    train(tmp_path, 3, 4)
    assert losses(tmp_path) == [(one.index, one.loss) for one in EPOCHS]


def test_lambda_is_shown_where_gates_close(tmp_path: Path) -> None:
    curves = TensorBoardCurves(tmp_path)
    curves((replace(FIRST, lam=0.5),))
    curves.close()
    assert points(tmp_path)["lambda"] == [(1, 0.5)]


def test_a_training_that_ended_before_its_first_epoch_leaves_nothing(tmp_path: Path) -> None:
    TensorBoardCurves(tmp_path / "none").close()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", ["run", "search"])
def test_where_it_is_missing_that_is_said_before_any_work(
    depthfinder: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as if it were not there
    done = depthfinder(command, "--budget-ratio", "0.7", "--log-tensorboard")
    assert done.returncode == 3
    assert 'pip install "depthfinder[tensorboard]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
