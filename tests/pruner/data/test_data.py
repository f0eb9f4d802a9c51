from pathlib import Path

import pytest
import torch
from torch import nn

from folders import folder_of, images_in, write_image
from pruner.data import digits
from pruner.data.digits import DigitScenes
from pruner.data.mapped import Split
from pruner.errors import DataError


def places(split: Split) -> set[str]:
    return {split.source.place(index) for index in split.indices}


def test_no_source_image_is_in_two_splits() -> None:
    rows = [{tuple(ink.flatten().tolist()) for ink in digits._sources(s)[0]} for s in ("train", "calibration", "test")]
    counts = [len(digits._sources(split)[1]) for split in ("train", "calibration", "test")]
    assert counts == [1197, 200, 400]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]


def test_scenes_depend_on_seed_and_epoch_alone() -> None:
    data = DigitScenes(train_images=64)

    def first(epoch: int, seed: int) -> torch.Tensor:
        return next(iter(data.train_batches(epoch=epoch, batch_size=32, seed=seed)))[0]

    assert torch.equal(first(0, 0), first(0, 0))
    assert not torch.equal(first(0, 0), first(1, 0))
    assert not torch.equal(first(0, 0), first(0, 1))


def test_test_scenes_are_always_the_same_whatever_the_batches() -> None:
    data = DigitScenes(test_images=50)
    whole = torch.cat([images for images, _ in data.test_batches(batch_size=50)])
    parts = torch.cat([images for images, _ in data.test_batches(batch_size=7)])
    assert torch.equal(whole, parts)
    assert whole.shape == (50, 3, 32, 32)
    assert -4 < whole.min() < whole.max() < 4


def test_a_folder_with_splits(tmp_path: Path, small_vit: nn.Module) -> None:
    data = images_in(folder_of(tmp_path), small_vit)
    assert data.num_classes == 2
    assert (len(data.train), len(data.calibration), len(data.test)) == (22, 2, 24)
    assert not places(data.train) & places(data.calibration)
    assert all("/val/" in place for place in places(data.test))
    images, labels = next(iter(data.test_batches(batch_size=5)))
    assert images.shape == (5, 3, 16, 16)
    assert labels.tolist() == [0] * 5


def test_a_folder_without_splits_is_split_the_same_way_each_time(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path, splits=("",))
    data, again = images_in(tmp_path, small_vit), images_in(tmp_path, small_vit)
    parts = [places(data.train), places(data.calibration), places(data.test)]
    assert [len(part) for part in parts] == [17, 2, 5]
    assert sum(len(part) for part in parts) == len(set.union(*parts))
    assert data.test == again.test
    assert data.name == again.name


def test_an_epoch_shows_images_once_and_drops_the_remainder(tmp_path: Path, small_vit: nn.Module) -> None:
    data = images_in(folder_of(tmp_path), small_vit)
    assert data.steps_per_epoch(4) == 5
    batches = list(data.train_batches(epoch=0, batch_size=4, seed=0))
    assert [len(labels) for _, labels in batches] == [4] * 5
    assert len({tuple(image.flatten().tolist()) for images, _ in batches for image in images}) == 20
    labels = torch.cat([labels for _, labels in batches])
    other = torch.cat([labels for _, labels in data.train_batches(epoch=1, batch_size=4, seed=0)])
    assert not torch.equal(labels, other)


def test_fewer_images_than_a_batch_are_one_step(tmp_path: Path, small_vit: nn.Module) -> None:
    data = images_in(folder_of(tmp_path), small_vit)
    assert data.steps_per_epoch(64) == 1
    ((images, labels),) = data.train_batches(epoch=0, batch_size=64, seed=0)
    assert len(images) == len(labels) == 22


def test_a_missing_folder_brings_the_nearest(tmp_path: Path, small_vit: nn.Module) -> None:
    (tmp_path / "imagenet").mkdir()
    with pytest.raises(DataError, match=r"there is no folder .*imagenett; nearest .*: imagenet"):
        images_in(tmp_path / "imagenett", small_vit)


def test_folders_that_cannot_be_used_say_why(tmp_path: Path, small_vit: nn.Module) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds 0 folders of images"):
        images_in(tmp_path / "empty", small_vit)
    folder_of(tmp_path / "one", classes=("cat",))
    with pytest.raises(DataError, match="holds 1 folders of images"):
        images_in(tmp_path / "one", small_vit)
    folder_of(tmp_path / "few", per_class=1, splits=("",))
    with pytest.raises(DataError, match="too few images"):
        images_in(tmp_path / "few", small_vit)
    folder_of(tmp_path / "odd")
    write_image(tmp_path / "odd" / "val" / "bird" / "0.png")
    with pytest.raises(DataError, match="differ in their classes: bird"):
        images_in(tmp_path / "odd", small_vit)


def test_what_is_set_apart_is_never_the_last_image_of_a_class(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path, per_class=12, splits=("",))
    for index in range(8):
        write_image(tmp_path / f"rare{index}" / "0.png", shade=index)
    data = images_in(tmp_path, small_vit)
    there = {data.train.source.labels[index] for index in data.train.indices}
    assert there == set(range(10))


def test_splits_are_taken_by_name(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path, splits=("a/", "b/", "train/"))
    data = images_in(tmp_path, small_vit, train_split="a", val_split="b")
    assert all("/a/" in place for place in places(data.train) | places(data.calibration))
    assert all("/b/" in place for place in places(data.test))
    with pytest.raises(DataError, match="has no split 'c'; there are: a, b, train"):
        images_in(tmp_path, small_vit, val_split="c")
    with pytest.raises(DataError, match="would be trained on"):
        images_in(tmp_path, small_vit, train_split="a", val_split="a")


def test_the_name_says_which_images_these_are(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path)
    name = images_in(tmp_path, small_vit).name
    assert f"{tmp_path}: 22 of train to train, 2 to calibrate, 24 of val to test, " in name
    (tmp_path / "train" / "cat" / "0.png").touch()
    assert images_in(tmp_path, small_vit).name == name
    write_image(tmp_path / "train" / "cat" / "0.png", size=(40, 40))
    assert images_in(tmp_path, small_vit).name != name
