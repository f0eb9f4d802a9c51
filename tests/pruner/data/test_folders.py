"""Image folders as they lie about in the field: read as timm and torchvision read them, or refused by name."""

from pathlib import Path

import pytest
from torch import nn

from folders import folder_of, images_in, write_image
from pruner._timm import create_dataset
from pruner.data.catalogue import MappedCatalogue
from pruner.data.catalogues import open_catalogue
from pruner.data.settings import DataSettings
from pruner.errors import DataError

NUMBERS = tuple(map(str, range(12)))
LAYOUTS = {
    "numbers": NUMBERS,
    "numbers in names": ("class2", "class10", "class1"),
    "capitals": ("apple", "Banana", "cherry", "Date"),
    "leading zeros": ("007", "8", "09", "10"),
    "letters of the world": ("Éclair", "eclair2", "猫", "кот"),
    "a space and signs": ("a b", "a-b", "a_b", "a.b"),
    "folders in folders": ("animals/10", "animals/9", "things/car"),
    "the same name twice": ("north/cat", "south/cat", "north/dog"),
    "direct and deeper": ("cat", "cat/old", "dog"),
}


def opened(root: Path, dataset: str = "folder", **settings: object) -> MappedCatalogue:
    found = open_catalogue(DataSettings(dataset=dataset, root=root, **settings))  # type: ignore[arg-type]
    assert isinstance(found, MappedCatalogue)
    return found


def labelled(found: MappedCatalogue) -> dict[str, int]:
    """Place of each training image -> its label."""
    return {found.train.place(index): label for index, label in enumerate(found.train.labels)}


@pytest.mark.parametrize("classes", LAYOUTS.values(), ids=LAYOUTS)
def test_classes_and_labels_are_timms(tmp_path: Path, classes: tuple[str, ...]) -> None:
    folder_of(tmp_path, per_class=2, classes=classes)
    reader = create_dataset("", root=str(tmp_path), split="train").reader
    found = opened(tmp_path)
    assert found.classes == reader.class_to_idx
    assert labelled(found) == dict(reader.samples)


@pytest.mark.parametrize("classes", [LAYOUTS[name] for name in LAYOUTS if name != "direct and deeper"])
def test_classes_and_labels_of_torch_folder_are_torchvisions(tmp_path: Path, classes: tuple[str, ...]) -> None:
    folder_of(tmp_path, per_class=2, classes=classes)
    theirs = create_dataset("torch/folder", root=str(tmp_path), split="train")
    for name in ("torch/folder", "torch/image_folder"):
        found = opened(tmp_path, name)
        assert found.classes == theirs.class_to_idx
        assert labelled(found) == dict(theirs.samples)


def test_ten_stands_behind_nine_and_that_is_said(tmp_path: Path) -> None:
    found = opened(folder_of(tmp_path, per_class=2, classes=NUMBERS))
    assert list(found.classes) == list(NUMBERS)
    (note,) = found.notes
    assert "natural order: 2 is 2; " in note
    assert "--dataset torch/folder" in note
    assert list(opened(tmp_path, "torch/folder").classes)[:4] == ["0", "1", "10", "11"]
    assert opened(folder_of(tmp_path / "words")).notes == ()


def test_names_that_differ_in_capitals_alone_have_one_order(tmp_path: Path) -> None:
    folder_of(tmp_path, per_class=2, classes=("b", "a", "A", "B"))
    assert list(opened(tmp_path).classes) == ["A", "a", "B", "b"]


def test_what_timm_cannot_put_in_order_is_one_line(tmp_path: Path) -> None:
    folder_of(tmp_path, per_class=2, classes=("²", "1"))
    with pytest.raises(DataError, match=r"cannot put these folders in order.*rename them"):
        opened(tmp_path)


def test_hidden_images_are_left_out_and_said_once(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path)
    plain = images_in(tmp_path, small_vit).name
    for split in ("train", "val"):
        write_image(tmp_path / split / ".ipynb_checkpoints" / "0.png")
        write_image(tmp_path / split / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png")
        (tmp_path / split / "cat" / "._0.png").write_bytes(b"\0\5\x16\7")
        (tmp_path / split / "__MACOSX" / "cat").mkdir(parents=True)
        (tmp_path / split / "__MACOSX" / "cat" / "._0.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "train" / ".git").mkdir()
    found = opened(tmp_path)
    assert list(found.classes) == ["cat", "dog"]
    (note,) = found.notes
    assert note.startswith("8 hidden images are left out")
    assert "train/.ipynb_checkpoints, " in note
    # Whether somebody has looked at the folders changes nothing of what is learnt from them.
    assert images_in(tmp_path, small_vit).name == plain


def test_a_folder_within_a_hidden_one_is_read(tmp_path: Path) -> None:
    assert list(opened(folder_of(tmp_path / ".cache" / "images")).classes) == ["cat", "dog"]


def test_an_empty_folder_is_no_class_as_in_timm(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "train" / "bird").mkdir()
    (tmp_path / "val" / "lost+found").mkdir()
    (tmp_path / "train" / "eel").mkdir()
    (tmp_path / "train" / "eel" / "labels.csv").write_text("none")
    found = opened(tmp_path)
    assert found.classes == create_dataset("", root=str(tmp_path), split="train").reader.class_to_idx
    assert found.notes == ("folders without images are no classes: train/bird, train/eel, val/lost+found",)
    write_image(tmp_path / "val" / "bird" / "0.png")
    with pytest.raises(DataError, match=r"differ in their classes: bird \(val alone\); .*--class-map FILE"):
        opened(tmp_path)
    # In torchvision's reader it is one, and ends it.
    with pytest.raises(DataError, match=r"no images lie in .*/train/bird, of which torchvision makes a class: remove"):
        opened(tmp_path, "torch/folder")


def test_images_beside_the_class_folders_are_left_out_and_said(tmp_path: Path) -> None:
    folder_of(tmp_path)
    write_image(tmp_path / "train" / "cover.png")
    write_image(tmp_path / "val" / "cover.jpg")
    found = opened(tmp_path)
    assert list(found.classes) == ["cat", "dog"]
    assert found.notes == ("2 images lie in no class folder and are left out: train/cover.png, val/cover.jpg",)


@pytest.mark.parametrize("flat", ["train", "test", "."])
def test_images_without_class_folders_are_named_as_what_they_are(tmp_path: Path, flat: str) -> None:
    if flat != ".":
        folder_of(tmp_path, splits=("train/",) if flat == "test" else ("val/",))
    for index in range(3):
        write_image(tmp_path / flat / f"{index}.png")
    with pytest.raises(DataError) as raised:
        opened(tmp_path)
    told = str(raised.value)
    assert told.startswith(f"{tmp_path / flat} holds 3 images and no class folders")
    assert f"as in {tmp_path / flat}/CLASS/" in told
    assert ("move test away: a fifth of the training images" in told) == (flat == "test")
    if flat == "test":
        (tmp_path / "test").rename(tmp_path / "unlabelled")
        assert opened(tmp_path).test is None


def test_folders_in_folders_are_said(tmp_path: Path) -> None:
    folder_of(tmp_path, classes=("animals/cat", "things/car"))
    (note,) = opened(tmp_path).notes
    assert note.startswith("of folders in folders the innermost is the class (train/animals/cat, train/things/car, ")
    assert "--dataset torch/folder takes the outermost" in note
    (other,) = opened(tmp_path, "torch/folder").notes
    assert "--dataset folder takes the innermost" in other


def test_a_folder_one_too_high_is_not_taken_for_classes(tmp_path: Path) -> None:
    folder_of(tmp_path / "imagenet")
    for dataset in ("folder", "torch/folder"):
        with pytest.raises(DataError, match=r"imagenet/train seems to be a split .*: name .*/imagenet with --data-dir"):
            opened(tmp_path, dataset)


@pytest.mark.parametrize("names", [("Train/", "Val/"), ("training/", "valid/"), ("train/", "evaluation/")])
def test_splits_are_known_by_their_usual_names(tmp_path: Path, names: tuple[str, str]) -> None:
    found = opened(folder_of(tmp_path, splits=names))
    assert found.splits == (names[0][:-1], names[1][:-1])
    assert list(found.classes) == ["cat", "dog"]


@pytest.mark.parametrize("splits", [("train/", "train/held/"), ("", "val/")])
def test_no_split_lies_within_another(tmp_path: Path, splits: tuple[str, str]) -> None:
    folder_of(tmp_path, splits=splits)
    with pytest.raises(DataError, match="would be trained on"):
        opened(tmp_path, val_split=splits[1][:-1])


def test_capital_suffixes_and_links_are_read(tmp_path: Path) -> None:
    folder_of(tmp_path / "images")
    write_image(tmp_path / "images" / "train" / "cat" / "SCAN.JPEG")
    folder_of(tmp_path / "elsewhere", splits=("",), classes=("more",))
    (tmp_path / "images" / "train" / "dog" / "more").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "images" / "train" / "dog" / "back").symlink_to(tmp_path / "images" / "train")
    found = opened(tmp_path / "images", "torch/folder")
    assert [list(found.train.labels).count(label) for label in (0, 1)] == [13, 24]


def test_a_class_map_may_lie_beside_the_images_as_in_timm(tmp_path: Path) -> None:
    folder_of(tmp_path, classes=("ant", "bee", "cat"))
    (tmp_path / "map.txt").write_text("cat\nant\n")
    reader = create_dataset("", root=str(tmp_path), split="train", class_map=str(tmp_path / "map.txt")).reader
    found = opened(tmp_path, class_map=Path("map.txt"))
    assert found.classes == reader.class_to_idx
    assert labelled(found) == dict(reader.samples)
    assert found.notes == ("left out, for the class map does not name them: 1 classes (bee)",)
