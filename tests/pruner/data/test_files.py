"""What lies in image folders in the field: every mode, and files that are no images."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from folders import epoch_of, folder_of, images_in, write_image
from pruner.data.bad_images import bad_images
from pruner.data.decoding import decode
from pruner.data.settings import Preparation
from pruner.errors import BadImageError, DataError
from pruner.progress import silent


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(file, "jpeg")
    return file.getvalue()


def bomb() -> bytes:
    """A few bytes that would be 400 million pixels."""
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "png")
    return file.getvalue()


BAD = {
    "text": b"this is text",
    "nothing": b"",
    "truncated": jpeg()[:-400],
    "header": b"\x89PNG\r\n\x1a\n" + b"\0" * 30,
    "bomb": bomb(),
}


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1", "LA"])
def test_images_of_other_modes_are_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    write_image(path, mode=mode)
    decoded = decode(path, "RGB", "here")
    assert (decoded.mode, decoded.size) == ("RGB", (20, 18))
    assert np.asarray(decoded).std() > 20


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_gray_of_16_bit_is_scaled(tmp_path: Path, suffix: str) -> None:
    levels = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / f"gray.{suffix}")
    decoded = np.asarray(decode(tmp_path / f"gray.{suffix}", "L", "here"))
    assert decoded.flatten().tolist() == list(range(256))


def test_images_stand_as_they_are_stored(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[274] = 6
    Image.new("RGB", (30, 10)).save(tmp_path / "turned.jpg", exif=turned)
    assert decode(tmp_path / "turned.jpg", "RGB", "here").size == (30, 10)


def test_an_image_of_one_pixel_and_a_name_of_any_letters(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path, classes=("кот", "犬 🐕"))
    for split in ("train", "val"):
        write_image(tmp_path / split / "кот" / "0\n猫.png", size=(1, 1))
        write_image(tmp_path / split / "犬 🐕" / "00.PNG", size=(1, 40))
    data = images_in(tmp_path, small_vit)
    assert sum(len(labels) for _, labels in data.test_batches(batch_size=8)) == 26
    assert all(torch.isfinite(images).all() for images, _ in epoch_of(data, batch_size=1))


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("workers", [0, 1])
def test_training_stops_at_what_is_no_image(tmp_path: Path, small_vit: nn.Module, kind: str, workers: int) -> None:
    folder_of(tmp_path)
    for split in ("train", "val"):
        for index in range(4):
            (tmp_path / split / "cat" / f"{index}.jpg").write_bytes(BAD[kind])
    data = images_in(tmp_path, small_vit, Preparation(workers=workers))
    with pytest.raises(DataError, match=r"/cat/\d\.jpg cannot be read as an image.*--skip-bad-images") as raised:
        epoch_of(data)
    assert isinstance(raised.value, BadImageError)
    with pytest.raises(DataError, match=r"/val/cat/0\.jpg cannot be read"):
        list(data.test_batches(batch_size=30))


def test_bad_images_are_left_out_and_listed(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path / "images")
    for split in ("train", "val"):
        for kind, content in BAD.items():
            (tmp_path / "images" / split / "dog" / f"{kind}.jpg").write_bytes(content)
    told: list[tuple[int, int, str]] = []
    report = tmp_path / "run" / "bad-images.txt"
    preparation = Preparation(bad_images=report, progress=lambda *what: told.append(what))
    data = images_in(tmp_path / "images", small_vit, preparation)
    assert (len(data.train), len(data.calibration), len(data.test)) == (22, 2, 24)
    assert len(epoch_of(data, batch_size=22)) == 1
    assert told[-1] == (58, 58, "10 cannot be decoded")
    listed = report.read_text()
    assert all(listed.count(f"{kind}.jpg") >= 2 for kind in BAD)
    assert "cannot identify image file" in listed
    assert "decompression bomb" in listed
    assert images_in(tmp_path / "images", small_vit).name != data.name

    # The same files: nothing is read again.
    told.clear()
    again = images_in(tmp_path / "images", small_vit, preparation)
    assert told == []
    assert again.name == data.name
    assert again.train == data.train


@pytest.mark.parametrize("change", ["mended", "touched", "added", "report"])
def test_a_listing_of_other_files_is_made_anew(tmp_path: Path, small_vit: nn.Module, change: str) -> None:
    folder_of(tmp_path / "images")
    bad = tmp_path / "images" / "train" / "dog" / "bad.png"
    bad.write_bytes(b"text")
    report = tmp_path / "bad-images.txt"
    assert len(images_in(tmp_path / "images", small_vit, Preparation(bad_images=report)).train) == 22
    if change == "mended":
        write_image(bad)
    elif change == "touched":
        bad.touch()
    elif change == "added":
        write_image(bad.with_name("another.png"))
    else:
        report.write_text(report.read_text() + "scribble\n")
    told: list[tuple[int, int, str]] = []
    preparation = Preparation(bad_images=report, progress=lambda *what: told.append(what))
    images_in(tmp_path / "images", small_vit, preparation)
    assert len(told) == 1
    assert "scribble" not in report.read_text()


def test_many_files_are_read_in_several_processes(
    tmp_path: Path, small_vit: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    folder_of(tmp_path / "images", per_class=50)
    for index in (7, 33):
        (tmp_path / "images" / "val" / "cat" / f"{index}.png").write_bytes(b"text")
    source = images_in(tmp_path / "images", small_vit).test.source
    (found,) = bad_images([source], tmp_path / "few.txt", silent)
    train = images_in(tmp_path / "images", small_vit).train.source
    none, same = bad_images([train, source], tmp_path / "many.txt", silent)
    assert same == found
    assert {Path(source.place(index)).name for index in found} == {"7.png", "33.png"}
    assert none == frozenset()
