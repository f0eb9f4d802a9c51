"""Class maps: which class has which label, and what is left out."""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

from folders import folder_of, images_in
from pruner.data.class_map import load_class_map, num_classes
from pruner.errors import DataError


def test_a_class_map_has_the_last_word(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path / "images", classes=("ant", "bee", "cat"))
    (tmp_path / "two.txt").write_text("cat\nant\n")
    data = images_in(tmp_path / "images", small_vit, class_map=tmp_path / "two.txt")
    source = data.train.source
    labels = {source.place(index).split("/")[-2]: source.labels[index] for index in data.train.indices}
    assert labels == {"cat": 0, "ant": 1}
    assert data.num_classes == 2

    (tmp_path / "far.json").write_text(json.dumps({"ant": 3, "bee": 7}))
    assert images_in(tmp_path / "images", small_vit, class_map=tmp_path / "far.json").num_classes == 8


def test_a_class_of_the_map_that_has_no_images_is_named(tmp_path: Path, small_vit: nn.Module) -> None:
    folder_of(tmp_path / "images")
    (tmp_path / "map.txt").write_text("cat\ndog\neel\n")
    with pytest.raises(DataError, match="no image to train on of the class eel"):
        images_in(tmp_path / "images", small_vit, class_map=tmp_path / "map.txt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("map.json", "{", "is no JSON"),
        ("map.json", '["a", "b"]', "is no table of names and labels"),
        ("map.json", '{"a": -1, "b": 0}', "is no table of names and labels"),
        ("map.json", '{"a": true, "b": 0}', "is no table of names and labels"),
        ("map.txt", "cat\n", "names 1 classes"),
        ("map.txt", "cat\ndog\ncat\n", "the line 'cat' twice"),
        ("none.txt", None, "cannot be read"),
    ],
)
def test_what_is_no_class_map(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        load_class_map(tmp_path / name)


@dataclass(frozen=True)
class Canary:
    """Whoever unpickles it makes a file."""

    file: Path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.file,)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    for name in ("map.pkl", "map.txt", "map.json"):
        (tmp_path / name).write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
        with pytest.raises(DataError, match=r"class map|pickle"):
            load_class_map(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    pickle.loads((tmp_path / "map.pkl").read_bytes())
    assert (tmp_path / "ran").exists()


def test_labels_and_outputs(tmp_path: Path) -> None:
    (tmp_path / "map.txt").write_text("Schäferhund\n 猫 \n")
    classes = load_class_map(tmp_path / "map.txt")
    assert classes == {"Schäferhund": 0, "猫": 1}
    assert num_classes(classes) == 2
