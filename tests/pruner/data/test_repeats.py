"""The same pixels however many processes there are, and wherever an epoch is taken up again."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from folders import epoch_of, equal, folder_of, images_in, joined
from pruner.data.augmentation import Augmentation
from pruner.data.digits import DigitScenes
from pruner.data.images import ImageData, Part
from pruner.data.settings import Preparation
from pruner.errors import DataError

# Draws from Python's generator, numpy's and torch's: all that timm has.
HARSH = Augmentation(aa="rand-m9-mstd0.5-inc1", reprob=1.0, recount=2)
SCENES = DigitScenes(train_images=23, calibration_images=9, test_images=9)


@pytest.fixture
def folder(tmp_path: Path, small_vit: nn.Module) -> ImageData:
    return images_in(folder_of(tmp_path), small_vit, Preparation(augmentation=HARSH))


def test_images_are_varied_by_seed_epoch_and_number(folder: ImageData) -> None:
    assert equal(epoch_of(folder), epoch_of(folder))
    assert not equal(epoch_of(folder), epoch_of(folder, epoch=1))
    assert not equal(epoch_of(folder), epoch_of(folder, seed=1))
    # The order alone is not what differs.
    lots = {float(images.sum()) for epoch in range(4) for images, _ in epoch_of(folder, epoch=epoch, batch_size=1)}
    assert len(lots) == 4 * 22


def test_decoding_in_other_processes_changes_nothing(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path)
    here, there = (
        images_in(tmp_path, small_vit, Preparation(augmentation=HARSH, workers=workers)) for workers in (0, 2)
    )
    assert equal(epoch_of(here, start=1), epoch_of(there, start=1))
    assert equal(list(here.test_batches(batch_size=5)), list(there.test_batches(batch_size=5)))


def test_an_epoch_is_taken_up_at_any_step(folder: ImageData) -> None:
    for data in (folder, SCENES):
        whole = epoch_of(data)
        for start in range(1, len(whole)):
            assert equal(epoch_of(data, start=start), whole[start:])
        assert epoch_of(data, start=len(whole)) == []


def test_steps_before_the_start_are_not_read(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path)
    data = images_in(tmp_path, small_vit)
    assert next(data.train_batches(epoch=0, batch_size=4, seed=0, start=4))
    for file in (tmp_path / "train").rglob("*.png"):
        file.unlink()
    with pytest.raises(DataError, match="No such file"):
        next(data.train_batches(epoch=0, batch_size=4, seed=0, start=4))
    assert next(data.train_batches(epoch=0, batch_size=4, seed=0, start=5), None) is None


@pytest.mark.parametrize("count", [2, 3])
def test_parts_are_shares_of_the_same_batches(folder: ImageData, count: int) -> None:
    for data in (folder, SCENES):
        shares = [epoch_of(data, batch_size=5, part=Part(rank, count)) for rank in range(count)]
        assert equal(joined(shares), epoch_of(data, batch_size=5))


def test_every_evaluation_image_is_one_parts_and_one_parts_only(folder: ImageData) -> None:
    for data in (folder, SCENES):
        whole = torch.cat([images for images, _ in data.test_batches(batch_size=4)])
        parts = [list(data.test_batches(batch_size=4, part=Part(rank, 3))) for rank in range(3)]
        assert all(len(labels) for part in parts for _, labels in part)
        shown = torch.cat([images for part in parts for images, _ in part])
        assert sorted(map(float, shown.sum((1, 2, 3)))) == sorted(map(float, whole.sum((1, 2, 3))))


def test_a_part_without_images_of_the_last_batch_is_given_none() -> None:
    batches = [list(SCENES.test_batches(batch_size=4, part=Part(rank, 4))) for rank in range(4)]
    assert [len(part) for part in batches] == [3, 2, 2, 2]


def test_a_training_batch_is_never_empty(folder: ImageData) -> None:
    for data in (folder, SCENES):
        with pytest.raises(DataError, match="a batch of 2 images cannot be shared by 3 processes"):
            epoch_of(data, batch_size=2, part=Part(2, 3))


def test_the_trainers_randomness_is_left_alone(folder: ImageData) -> None:
    def state() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    def seed() -> None:
        random.seed(5)
        np.random.seed(5)
        torch.manual_seed(5)

    seed()
    undisturbed = state()
    seed()
    epoch_of(folder)
    assert state() == undisturbed


def test_there_is_no_such_part() -> None:
    with pytest.raises(ValueError, match="no part 2 of 2"):
        Part(2, 2)
