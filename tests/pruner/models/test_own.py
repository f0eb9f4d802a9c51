"""Networks of the user's own code, by `module:function`: run because somebody typed the name, and not otherwise."""

import sys
from pathlib import Path

import pytest
import torch

import depthfinder as df
from commands import Command
from pruner.errors import CheckpointError, UnknownModelError
from pruner.models.load import load_model
from pruner.models.names import OWN_CODE_VARIABLE, ModelName
from pruner.network.image_size import input_size_of

CODE = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, wide):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide)
        self.conv2, self.bn2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide)

    def forward(self, x):
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))

def make(num_classes=10, wide=8):
    if wide < 1:
        raise ValueError("it has to be wide")
    blocks = [Block(wide) for _ in range(3)]
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, num_classes)
    return nn.Sequential(nn.Conv2d(3, wide, 4, 4), *blocks, *head)

def number():
    return "8"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_nets.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)
    return tmp_path


def test_the_code_is_called_with_what_it_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWN_CODE_VARIABLE, "own_nets:make")
    network = load_model("own_nets:make", num_classes=4, in_chans=3, wide=6, img_size=(32, 64))
    assert input_size_of(network) == (3, 32, 64)
    assert network(torch.zeros(1, 3, 32, 64)).shape == (1, 4)
    assert network.pretrained_cfg["architecture"] == str(ModelName.parse("own_nets:make"))
    assert str(folder) not in sys.path


@pytest.mark.parametrize(
    ("name", "settings", "answer"),
    [
        ("own_nets:none", {}, "there is no own_nets:none here"),
        ("no_such_module:make", {}, "there is no no_such_module:make here: No module named"),
        ("own_nets:make", {"wide": 0}, "makes no network of the arguments .*: it has to be wide"),
        ("own_nets:make", {"deep": 3}, "makes no network of the arguments .*deep"),
        ("own_nets:number", {}, "own_nets:number returns a str, not a torch.nn.Module"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_it_does_not_make_is_refused(
    name: str, settings: dict[str, int], answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OWN_CODE_VARIABLE, name)
    with pytest.raises(UnknownModelError, match=answer):
        load_model(name, **settings)
    with pytest.raises(CheckpointError, match="has no published weights"):
        load_model(name, pretrained=True)


@pytest.mark.usefixtures("folder")
def test_code_that_nobody_typed_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWN_CODE_VARIABLE, "own_nets:other")
    with pytest.raises(UnknownModelError, match="is code, which is not run because a file names it: type it"):
        load_model("own_nets:make")
    assert "own_nets" not in sys.modules


def test_it_goes_from_the_command_line_to_the_merged_network(
    folder: Path, depthfinder: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OWN_CODE_VARIABLE, "")
    run = Path("depthfinder-out") / "own"
    settings = ("--img-size", "32", "--dataset", "digits", "--device", "null", "--n-trials", "2", "--experiment", "own")
    done = depthfinder("search", "--model", "own_nets:make", "--budget-ratio", "0.8", "--without-training", *settings)
    assert done.returncode == 0, done.stderr
    uncut = load_model("own_nets:make")
    monkeypatch.setenv(OWN_CODE_VARIABLE, "")
    told = depthfinder("measure", str(run), "--device", "null")
    assert told.returncode == 3
    assert "is not run because a file names it" in " ".join(told.stderr.split())
    merged = df.load_merged(folder / run, model=uncut)
    assert merged(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
