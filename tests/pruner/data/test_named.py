"""Data sets that timm has names for, made here in small: each is read by the real library."""

import io
import json
import pickle
import sys
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from torch import nn

from folders import PLAIN, SIZE, epoch_of, equal, joined
from pruner.data.augmentation import Augmentation, Evaluation
from pruner.data.catalogues import open_catalogue
from pruner.data.images import ImageData, Part
from pruner.data.settings import DataSettings, Preparation
from pruner.errors import DataError


def picture(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 255, (20, 20, 3), dtype=np.uint8))


def png(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, "png")
    return file.getvalue()


def idx(path: Path, array: np.ndarray) -> None:
    """The format of MNIST: a number that tells type and rank, the sizes, the bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


def torchvision_set(root: Path, model: nn.Module, preparation: Preparation = PLAIN) -> ImageData:
    for split, count in (("train", 30), ("t10k", 10)):
        images = np.random.default_rng(count).integers(0, 255, (count, 28, 28), dtype=np.uint8)
        idx(root / "FashionMNIST" / "raw" / f"{split}-images-idx3-ubyte", images)
        idx(root / "FashionMNIST" / "raw" / f"{split}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    found = open_catalogue(DataSettings(dataset="torch/fashion_mnist", root=root))
    assert found.num_classes == 10
    return found.images(model, SIZE, preparation)


def hugging_face_folder(root: Path, splits: tuple[str, ...] = ("train", "test")) -> Path:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    for split, count in zip(splits, (30, 10), strict=False):
        rows = {"image": [picture(100 * count + i) for i in range(count)], "label": [i % 2 for i in range(count)]}
        table = datasets.Dataset.from_dict(rows, features=features)
        (root / "rows").mkdir(exist_ok=True)
        table.to_parquet(root / "rows" / f"{split}-00000-of-00001.parquet")
    return root / "rows"


def hugging_face_set(root: Path, model: nn.Module, preparation: Preparation = PLAIN) -> ImageData:
    settings = DataSettings(dataset=f"hfds/{hugging_face_folder(root)}", root=root / "prepared")
    found = open_catalogue(settings)
    assert found.num_classes == 2
    return found.images(model, SIZE, preparation)


def hugging_face_stream(root: Path, model: nn.Module, preparation: Preparation = PLAIN) -> ImageData:
    settings = DataSettings(dataset=f"hfids/{hugging_face_folder(root)}", root=root / "prepared", download=True)
    return open_catalogue(settings).images(model, SIZE, preparation)


def shards(root: Path, lengths: tuple[int, ...] = (12, 18), label: str = "cls") -> None:
    number = 0
    for index, length in enumerate(lengths):
        with tarfile.open(root / f"train-{index:03}.tar", "w") as tar:
            for _ in range(length):
                add(tar, f"{number}.png", png(number))
                add(tar, f"{number}.{label}", str(number % 5).encode())
                number += 1
    with tarfile.open(root / "val-000.tar", "w") as tar:
        for number in range(10):
            add(tar, f"{number}.png", png(100 + number))
            add(tar, f"{number}.cls", b"1")


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def describe_shards(root: Path, lengths: tuple[int, ...] = (12, 18)) -> None:
    def split(name: str, lengths: tuple[int, ...]) -> dict[str, object]:
        names = [f"{'train' if name == 'train' else 'val'}-{index:03}.tar" for index in range(len(lengths))]
        return {"name": name, "num_samples": sum(lengths), "filenames": names, "shard_lengths": lengths}

    splits = {"train": split("train", lengths), "validation": split("validation", (10,))}
    (root / "_info.json").write_text(json.dumps({"splits": splits}))


def shard_set(root: Path, model: nn.Module, preparation: Preparation = PLAIN) -> ImageData:
    shards(root)
    describe_shards(root)
    return open_catalogue(DataSettings(dataset="wds/", root=root)).images(model, SIZE, preparation)


# Training images as they are evaluated.
UNVARIED = Preparation(
    augmentation=Augmentation(no_aug=True, train_interpolation="bilinear"),
    evaluation=Evaluation(crop_pct=1.0, interpolation="bilinear"),
)
KINDS = [torchvision_set, hugging_face_set, hugging_face_stream, shard_set]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@kinds
def test_every_image_is_in_one_split(tmp_path: Path, small_vit: nn.Module, kind) -> None:  # type: ignore[no-untyped-def]
    data = kind(tmp_path, small_vit, UNVARIED)
    train = [images for images, _ in epoch_of(data, batch_size=1)]
    calibration = [images for images, _ in data.calibration_batches(batch_size=1)]
    test = [images for images, _ in data.test_batches(batch_size=1)]
    assert (len(train) + len(calibration), len(test)) == (30, 10)
    assert len({tuple(image.flatten().tolist()) for image in (*train, *calibration, *test)}) == 40
    assert f"{len(train)} of train to train, {len(calibration)} to calibrate, 10 of" in data.name
    assert kind(tmp_path, small_vit, UNVARIED).name == data.name
    # Other pixels of the same files are other data.
    assert kind(tmp_path, small_vit).name != data.name
    # Where loading processes are started afresh, what they read from has to travel.
    assert pickle.loads(pickle.dumps(data)).name == data.name


@kinds
def test_parts_workers_and_resumes_change_nothing(tmp_path: Path, small_vit: nn.Module, kind) -> None:  # type: ignore[no-untyped-def]
    data = kind(tmp_path, small_vit)
    whole = epoch_of(data, epoch=1)
    assert not equal(whole, epoch_of(data, epoch=0))
    assert equal(epoch_of(data, epoch=1, start=3), whole[3:])
    assert equal(joined([epoch_of(data, epoch=1, part=Part(rank, 2)) for rank in range(2)]), whole)
    there = kind(tmp_path, small_vit, Preparation(workers=2))
    assert equal(epoch_of(there, epoch=1, start=2), whole[2:])
    assert equal(list(there.test_batches(batch_size=3)), list(data.test_batches(batch_size=3)))


@kinds
def test_a_split_that_is_not_there(tmp_path: Path, small_vit: nn.Module, kind) -> None:  # type: ignore[no-untyped-def]
    kind(tmp_path, small_vit)
    dataset, root = {
        torchvision_set: ("torch/fashion_mnist", tmp_path),
        hugging_face_set: (f"hfds/{tmp_path / 'rows'}", tmp_path / "prepared"),
        hugging_face_stream: (f"hfids/{tmp_path / 'rows'}", tmp_path / "prepared"),
        shard_set: ("wds/", tmp_path),
    }[kind]
    with pytest.raises(DataError, match=r"train.*(test|validation)"):
        open_catalogue(DataSettings(dataset=dataset, root=root, val_split="evening"))


def test_a_data_set_without_a_test_split_is_split(tmp_path: Path, small_vit: nn.Module) -> None:
    folder = hugging_face_folder(tmp_path, splits=("train",))
    found = open_catalogue(DataSettings(dataset=f"hfds/{folder}", root=tmp_path / "prepared"))
    data = found.images(small_vit, SIZE, PLAIN)
    assert [
        len(list(batches)) for batches in (data.calibration_batches(batch_size=1), data.test_batches(batch_size=1))
    ] == [2, 6]
    assert data.steps_per_epoch(1) == 22


def test_streams_without_lengths_of_their_files(tmp_path: Path, small_vit: nn.Module) -> None:
    shards(tmp_path)
    names = {"train_split": "train-{000..001}.tar|30", "val_split": "val-000.tar|10"}
    data = open_catalogue(DataSettings(dataset="wds/", root=tmp_path, **names)).images(small_vit, SIZE, PLAIN)
    assert len(epoch_of(data, batch_size=1)) == 27
    with pytest.raises(DataError, match=r"how many samples .* is not known"):
        open_catalogue(
            DataSettings(dataset="wds/", root=tmp_path, train_split="train-000.tar", val_split="val-000.tar")
        )
    names["train_split"] = "train-{000..002}.tar|30"
    with pytest.raises(DataError, match=r"there is no .*train-002.tar; there are: train-000.tar"):
        open_catalogue(DataSettings(dataset="wds/", root=tmp_path, **names))


def test_a_stream_of_another_length_than_said(tmp_path: Path, small_vit: nn.Module) -> None:
    shards(tmp_path)
    describe_shards(tmp_path, (12, 19))
    data = open_catalogue(DataSettings(dataset="wds/", root=tmp_path)).images(small_vit, SIZE, PLAIN)
    with pytest.raises(DataError, match="19 images were expected of part 1 of a stream, and 18 came"):
        epoch_of(data, batch_size=1)


def test_what_is_wrong_with_a_sample_is_said_with_its_name(tmp_path: Path, small_vit: nn.Module) -> None:
    shards(tmp_path)
    describe_shards(tmp_path)
    with tarfile.open(tmp_path / "val-000.tar", "w") as tar:
        for number in range(10):
            add(tar, f"{number}.png", b"text" if number == 3 else png(number))
            add(tar, f"{number}.cls", b"9" if number == 1 else b"1")
    data = open_catalogue(DataSettings(dataset="wds/", root=tmp_path)).images(small_vit, SIZE, PLAIN)
    with pytest.raises(DataError, match=r"1 in .*val-000.tar has the label 9, of 5 classes"):
        next(data.test_batches(batch_size=2))
    with pytest.raises(DataError, match=r"3 in .*val-000.tar cannot be read as an image"):
        next(data.test_batches(batch_size=4, part=Part(3, 4)))
    with pytest.raises(DataError, match="is a stream"):
        open_catalogue(DataSettings(dataset="wds/", root=tmp_path)).images(
            small_vit, SIZE, Preparation(bad_images=tmp_path / "bad.txt")
        )


def test_a_name_in_a_tar_list_is_never_a_command(tmp_path: Path) -> None:
    shards(tmp_path)
    canary = tmp_path / "ran"
    with pytest.raises(DataError, match="there is no"):
        open_catalogue(
            DataSettings(
                dataset="wds/",
                root=tmp_path,
                train_split=f"pipe:touch {canary}; cat train-000.tar|12",
                val_split="val-000.tar|10",
            )
        )
    assert not canary.exists()


@pytest.mark.parametrize(
    ("dataset", "library"),
    [("hfds/x", "datasets"), ("hfids/x", "datasets"), ("wds/", "webdataset"), ("tfds/x", "tensorflow_datasets")],
)
def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DataError, match=f"the library {library}, which is not here: pip install"):
        open_catalogue(DataSettings(dataset=dataset, root=tmp_path))


def test_nothing_is_fetched_unasked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing is fetched without --dataset-download"):
        open_catalogue(DataSettings(dataset="hfds/nobody/nothing", root=tmp_path))
    assert not datasets.config.HF_HUB_OFFLINE
    with pytest.raises(DataError, match="--dataset-download"):
        open_catalogue(DataSettings(dataset="torch/cifar10", root=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("hfdss/x", "nearest: hfds; there are: digits, folder, unlabelled, torch/NAME, hfds/NAME"),
        ("imagenet", "there are: digits, folder"),
        ("torch/nosuch", "Unknown torchvision dataset nosuch"),
    ],
)
def test_there_is_no_such_data_set(tmp_path: Path, dataset: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_catalogue(DataSettings(dataset=dataset, root=tmp_path))
