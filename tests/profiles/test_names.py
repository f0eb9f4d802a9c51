"""Names that become paths: what may stand in them, and where they cannot lead."""

import dataclasses
import itertools
from pathlib import Path

import pytest

from profiles.errors import FileNameError
from profiles.files import write_whole
from profiles.names import as_file_name, below, one_name
from profiles.profile import Setting
from profiles.store import profile_path

HOSTILE = (
    "../../../../X",
    "/etc/passwd",
    "..",
    ".",
    "a/b",
    "..\\..\\X",
    "a\0b",
    "a\nb",
    "\x1b[31mred",
    ".hidden",
    "C:\\X",
    "%2E%2E%2FX",
    "\udcff",
    "timm/resnet18.a1_in1k",
    "hf-hub:timm/resnet18.a1_in1k",
    "größe",
    "~root",
    "-rf",
)
SETTING = Setting("ort-cpu", "this one", "onnxruntime 1", "fp32", 1, 1)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_every_text_becomes_one_name_right_below_its_folder(text: str, tmp_path: Path) -> None:
    path = below(tmp_path, as_file_name(text))
    assert path.parent == tmp_path
    assert path.resolve().parent == tmp_path.resolve()
    path.write_text("here")
    assert [found.name for found in tmp_path.iterdir()] == [as_file_name(text)]
    assert path.name.isprintable()
    assert path.name.isascii()


def test_other_texts_have_other_names_and_plain_ones_their_own() -> None:
    for one, other in itertools.combinations(HOSTILE, 2):
        assert as_file_name(one) != as_file_name(other)
    for plain in (
        "deit_tiny_patch16_224",
        "resnet18.a1_in1k",
        "deit_digits-ort-cpu-x0.7-s0",
        "a+narrow+thin-b1-t1.json",
    ):
        assert as_file_name(plain) == plain
        assert one_name(plain) == plain
    assert as_file_name("timm/resnet18.a1_in1k") == "timm%2Fresnet18.a1_in1k"
    assert as_file_name("../X") == "%2E.%2FX"


@pytest.mark.parametrize("text", ["", "x" * 201, "ö" * 40, None, 3], ids=ascii)
def test_what_is_no_name_or_too_long_for_one_is_refused(text: str) -> None:
    with pytest.raises(FileNameError):
        as_file_name(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "/a", "a\\b", "a\0b", "a\nb", "\x1b[31m", "x" * 201], ids=ascii)
def test_a_name_that_a_person_gives_is_taken_as_it_is_or_refused(text: str) -> None:
    with pytest.raises(FileNameError):
        one_name(text)


@pytest.mark.parametrize("text", ["my run", "größe", "run.2", "x" * 200])
def test_a_name_that_is_one_is_left_alone(text: str) -> None:
    assert one_name(text) == text


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("part", ["model", "device", "runtime", "dtype"])
def test_no_profile_lies_outside_its_root(text: str, part: str, tmp_path: Path) -> None:
    setting = SETTING if part == "model" else dataclasses.replace(SETTING, **{part: text})  # type: ignore[arg-type]
    path = profile_path(tmp_path, text if part == "model" else "net", setting)
    assert path.parents[1] == tmp_path
    assert path.resolve().parents[1] == tmp_path.resolve()


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "ort-cpu-onnxruntime-fp32").symlink_to(outside)
    with pytest.raises(FileNameError, match="leads out of"):
        profile_path(root, "net", SETTING)
    (root / "loop").symlink_to("loop")
    assert below(root, "loop") == root / "loop"
    (root / "within").symlink_to(root)
    assert below(root, "within", "x") == root / "within" / "x"
    assert below(tmp_path / "not yet", "x") == tmp_path / "not yet" / "x"


def test_a_file_is_put_in_the_place_of_a_link_not_behind_it(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    for name in ("file", "file.writing"):
        (tmp_path / name).symlink_to(precious)
    write_whole(tmp_path / "file", "new")
    assert precious.read_text() == "kept"
    assert (tmp_path / "file").read_text() == "new"
    assert not (tmp_path / "file").is_symlink()
