from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pruner.data import digits
from pruner.data.digits import DigitScenes
from pruner.data.folder import image_folder
from pruner.errors import DataError

SIZE = (3, 16, 16)


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


def write_image(path: Path, mode: str = "RGB", size: tuple[int, int] = (20, 18), shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(shade).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def folder_of(root: Path, per_class: int = 12, splits: tuple[str, ...] = ("train/", "val/")) -> Path:
    for split in splits:
        for name in ("cat", "dog"):
            for index in range(per_class):
                write_image(root / f"{split}{name}" / f"{index}.png", shade=index)
    return root


def test_a_folder_with_splits(tmp_path: Path, small_vit: nn.Module) -> None:
    data = image_folder(folder_of(tmp_path), small_vit, SIZE)
    assert data.num_classes == 2
    assert (len(data.train), len(data.calibration), len(data.test)) == (22, 2, 24)
    assert not {path for path, _ in data.train} & {path for path, _ in data.calibration}
    assert all("val" in path.parts for path, _ in data.test)
    images, labels = next(iter(data.test_batches(batch_size=5)))
    assert images.shape == (5, *SIZE)
    assert labels.tolist() == [0] * 5


def test_a_folder_without_splits_is_split_the_same_way_each_time(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path, splits=("",))
    data, again = image_folder(tmp_path, small_vit, SIZE), image_folder(tmp_path, small_vit, SIZE)
    parts = [set(data.train), set(data.calibration), set(data.test)]
    assert [len(part) for part in parts] == [17, 2, 5]
    assert sum(len(part) for part in parts) == len(set.union(*parts))
    assert data.test == again.test


def test_an_epoch_shows_every_training_image_once(tmp_path: Path, small_vit: nn.Module) -> None:
    data = image_folder(folder_of(tmp_path), small_vit, SIZE)
    labels = torch.cat([labels for _, labels in data.train_batches(epoch=0, batch_size=4, seed=0)])
    assert len(labels) == len(data.train) == 22
    assert data.steps_per_epoch(4) == 6
    other = torch.cat([labels for _, labels in data.train_batches(epoch=1, batch_size=4, seed=0)])
    assert not torch.equal(labels, other)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
def test_images_of_other_modes_are_read(tmp_path: Path, small_vit: nn.Module, mode: str) -> None:
    folder_of(tmp_path)
    suffix = "jpg" if mode == "CMYK" else "png"
    write_image(tmp_path / "val" / "cat" / f"0000.{suffix}", mode=mode)
    data = image_folder(tmp_path, small_vit, SIZE)
    assert next(iter(data.test_batches(batch_size=1)))[0].shape == (1, *SIZE)


@pytest.mark.parametrize("content", [b"", b"this is text", b"\x89PNG\r\n\x1a\n" + b"\0" * 30])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, small_vit: nn.Module, content: bytes) -> None:
    folder_of(tmp_path)
    (tmp_path / "val" / "cat" / "000.png").write_bytes(content)
    data = image_folder(tmp_path, small_vit, SIZE)
    with pytest.raises(DataError, match=r"000\.png cannot be read as an image"):
        list(data.test_batches(batch_size=8))


def test_a_missing_folder_brings_the_nearest(tmp_path: Path, small_vit: nn.Module) -> None:
    (tmp_path / "imagenet").mkdir()
    with pytest.raises(DataError, match=r"there is no folder .*imagenett; nearest .*: imagenet"):
        image_folder(tmp_path / "imagenett", small_vit, SIZE)


def test_folders_that_cannot_be_used_say_why(tmp_path: Path, small_vit: nn.Module) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds 0 folders of images"):
        image_folder(tmp_path / "empty", small_vit, SIZE)
    folder_of(tmp_path / "few", per_class=1, splits=("",))
    with pytest.raises(DataError, match="too few images"):
        image_folder(tmp_path / "few", small_vit, SIZE)
    folder_of(tmp_path / "odd")
    write_image(tmp_path / "odd" / "val" / "bird" / "0.png")
    with pytest.raises(DataError, match="differ in their classes: bird"):
        image_folder(tmp_path / "odd", small_vit, SIZE)
