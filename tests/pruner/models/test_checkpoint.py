import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from pruner.errors import CheckpointError
from pruner.models.checkpoint import Checkpoint, CheckpointFile
from pruner.models.weights_file import read_weights


def saved(folder: Path, steps: int) -> CheckpointFile:
    file = CheckpointFile(folder / "state.safetensors", "this training")
    for step in range(1, steps + 1):
        file.save(Checkpoint(step, {"w": torch.full((40,), float(step)), "half": torch.ones(3, dtype=torch.float16)}))
    return file


def test_the_newest_is_read_back(tmp_path: Path) -> None:
    found = saved(tmp_path, 3).load()
    assert found is not None
    assert found.step == 3
    assert torch.equal(found.tensors["w"], torch.full((40,), 3.0))
    assert not list(tmp_path.glob("*.writing"))


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert saved(tmp_path, 0).load() is None


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.99])
def test_a_truncated_newest_gives_way_to_the_one_before(tmp_path: Path, share: float) -> None:
    file = saved(tmp_path, 3)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[: int(share * len(whole))])
    found = file.load()
    assert found is not None
    assert found.step == 2


@pytest.mark.parametrize("position", [-1, -60, -150])
def test_a_flipped_byte_is_noticed(tmp_path: Path, position: int) -> None:
    file = saved(tmp_path, 3)
    content = bytearray(file.path.read_bytes())
    content[position] ^= 0x40
    file.path.write_bytes(bytes(content))
    found = file.load()
    assert found is not None
    assert found.step == 2


def test_two_damaged_ones_are_an_error_and_not_a_new_start(tmp_path: Path) -> None:
    file = saved(tmp_path, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        file.load()


def test_weights_of_another_kind_are_no_state(tmp_path: Path) -> None:
    """What masks leave has an entry of the same name, with other facts in it."""
    path = tmp_path / "t.safetensors"
    safetensors.torch.save_file({"w": torch.ones(2)}, path, metadata={"depthfinder": json.dumps({"method": "smart"})})
    with pytest.raises(CheckpointError, match="is damaged"):
        CheckpointFile(path, "a training").load()


def test_another_trainings_state_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    with pytest.raises(CheckpointError, match="belongs to another training"):
        CheckpointFile(tmp_path / "state.safetensors", "that training").load()


class Canary:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_hostile_weights_file_never_runs(tmp_path: Path, name: str) -> None:
    trace, path = tmp_path / "it-ran", tmp_path / name
    path.write_bytes(pickle.dumps(Canary(trace)))
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        read_weights(path)
    assert not trace.exists()
    function, arguments = Canary(trace).__reduce__()
    function(*arguments)  # type: ignore[operator]
    assert trace.exists(), "the canary is dead: the test would show nothing"


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    content = safetensors.torch.save({"w": torch.ones(4)})
    path.write_bytes(content.replace(b"[0,16]", b"[0,99]"))
    with pytest.raises(CheckpointError):
        read_weights(path)
