"""Two real processes that train together over gloo: what one would have done, and what becomes of one alone."""

import signal
import time
from pathlib import Path

import pytest
import torch

import rounding
from one_of_many import Together
from pruner.models.checkpoint import CheckpointFile

STAGES = (pytest.param("supernet", marks=pytest.mark.grid), "progressive")


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_have_the_loss_curve_of_one(stage: str, tmp_path: Path) -> None:
    one, two = Together(tmp_path / "one", stage, 1), Together(tmp_path / "two", stage, 2)
    one.finish()
    two.finish()
    expected = one.seen(0)
    # The 16 images of a step are added up in another order, in each of 16 steps.
    apart = rounding.of_a_sum(16 * 16, 1.0)
    for rank in (0, 1):
        found = two.seen(rank)
        assert found["losses"] == pytest.approx(expected["losses"], rel=apart)
        assert found["steps"] == pytest.approx(expected["steps"], abs=2e-3)  # as they are printed
        assert found["accuracies"] == pytest.approx(expected["accuracies"], abs=0.021)  # of 50 images, one at a tie
        assert found["weights"] == pytest.approx(expected["weights"], rel=apart)
    assert len(expected["steps"]) == 16
    assert expected["losses"][0] != expected["losses"][2]


def test_when_one_is_killed_the_other_ends_with_a_message_and_both_go_on_from_there(tmp_path: Path) -> None:
    killed = Together(tmp_path / "killed", "progressive", 2, dies=(1, 7))
    assert killed.status(1, 120) == -signal.SIGKILL
    began = time.monotonic()
    assert killed.status(0, 60) == 1
    assert time.monotonic() - began < 60
    message = "another process of this training is gone, so this one stops; the same command again goes on"
    assert message in killed.errors(0)
    again = Together(tmp_path / "killed", "progressive", 2)
    undisturbed = Together(tmp_path / "undisturbed", "progressive", 2)
    again.finish()
    undisturbed.finish()
    assert len(again.seen(0)["steps"]) == 16 - 6  # the step that one was killed in was saved by nobody
    assert again.seen(0)["losses"] == pytest.approx(undisturbed.seen(0)["losses"], rel=rounding.of_a_sum(16 * 16, 1.0))


@pytest.mark.parametrize("stage", STAGES)
def test_two_epochs_a_kill_and_two_epochs_are_four_epochs_bit_for_bit(stage: str, tmp_path: Path) -> None:
    killed = Together(tmp_path / "killed", stage, 1, dies=(0, 9))
    undisturbed = Together(tmp_path / "undisturbed", stage, 1)
    assert killed.status(0, 120) == -signal.SIGKILL
    again = Together(tmp_path / "killed", stage, 1)
    again.finish()
    undisturbed.finish()
    files = [CheckpointFile(tmp_path / name / "state.safetensors", stage) for name in ("undisturbed", "killed")]
    whole, resumed = (file.load() for file in files)
    assert whole is not None
    assert resumed is not None
    assert whole.step == resumed.step == 16
    assert whole.tensors.keys() == resumed.tensors.keys()
    assert all(torch.equal(tensor, resumed.tensors[name]) for name, tensor in whole.tensors.items())
    assert len(again.seen(0)["steps"]) == 16 - 8  # two epochs of four steps were saved when it was killed
    assert again.seen(0)["losses"] == undisturbed.seen(0)["losses"]
