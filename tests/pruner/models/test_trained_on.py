"""What weights files say of the images that they were learnt from, and what differs from these."""

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from latency.export import export_safetensors
from networks import made
from pruner.choices.plan import Plan
from pruner.models.checkpoint import Checkpoint, CheckpointFile
from pruner.models.load import load_model
from pruner.models.trained_on import ENTRY, TrainedOn, differences, published, trained_on

NATURAL = {str(number): number for number in range(12)}
BY_LETTERS = {name: label for label, name in enumerate(sorted(NATURAL))}
SMALL = {"cat": 0, "dog": 1}


@cache
def model() -> nn.Module:
    return load_model("resnet10t", img_size=32)


WEIGHTS = {"fc.weight": torch.zeros(2, 3)}


@pytest.mark.parametrize(
    "said",
    [
        {"class_to_idx": SMALL},
        {"classes": ["cat", "dog"]},
        {"label_names": ("cat", "dog")},
        {"class_names": {0: "cat", 1: "dog"}},
        {"args": argparse.Namespace(class_names=["cat", "dog"])},
        {"hyper_parameters": {"classes": ["cat", "dog"]}},
    ],
)
def test_classes_are_read_as_training_scripts_write_them(tmp_path: Path, said: dict[str, Any]) -> None:
    torch.save({"state_dict": WEIGHTS} | said, tmp_path / "last.pth.tar")
    assert trained_on(tmp_path / "last.pth.tar", model()).classes == SMALL


@pytest.mark.parametrize("said", ["cat dog", 7, [], {"cat": "dog"}, {"cat": 0.5}, {"x": None}, torch.ones(2)])
def test_what_names_no_classes_is_unknown(tmp_path: Path, said: object) -> None:
    torch.save({"state_dict": WEIGHTS, "classes": said}, tmp_path / "a.pt")
    assert trained_on(tmp_path / "a.pt", model()) == TrainedOn()


def test_the_arguments_of_timms_training_say_the_rest(tmp_path: Path) -> None:
    """timm's script takes what was not asked for from the model's configuration: 176 pixels, tested at 224."""
    nothing = {"img_size": None, "input_size": None, "mean": None, "std": None}

    def of(**asked: Any) -> TrainedOn:
        torch.save({"state_dict": WEIGHTS, "args": argparse.Namespace(**nothing | asked)}, tmp_path / "a.pt")
        return trained_on(tmp_path / "a.pt", model())

    assert of() == TrainedOn(
        None, ((176, 176), (224, 224)), model().pretrained_cfg["mean"], model().pretrained_cfg["std"]
    )
    assert of(img_size=64).sizes == ((64, 64),)
    assert of(img_size=64, input_size=[3, 48, 96]).sizes == ((48, 96),)
    assert of(mean=[0.5, 0.5, 0.5]).mean == (0.5, 0.5, 0.5)
    # Another script's arguments say only what they say.
    torch.save({"state_dict": WEIGHTS, "args": argparse.Namespace(input_size=192)}, tmp_path / "deit.pth")
    assert trained_on(tmp_path / "deit.pth", model()) == TrainedOn(sizes=((192, 192),))


def test_a_hubs_configuration_lies_beside_the_weights(tmp_path: Path) -> None:
    configuration = {
        "architecture": "resnet10t",
        "label_names": ["cat", "dog"],
        "pretrained_cfg": {
            "input_size": [3, 96, 96],
            "test_input_size": [3, 128, 128],
            "mean": [0.1] * 3,
            "std": [0.2] * 3,
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(configuration))
    for name in ("model.safetensors", "mine.safetensors"):
        safetensors.torch.save_file(WEIGHTS, tmp_path / name)
    said = trained_on(tmp_path / "model.safetensors", model())
    assert said == TrainedOn(SMALL, ((96, 96), (128, 128)), (0.1,) * 3, (0.2,) * 3)
    assert trained_on(tmp_path / "mine.safetensors", model()) == TrainedOn()
    (tmp_path / "config.json").write_text("{")
    assert trained_on(tmp_path / "model.safetensors", model()) == TrainedOn()


def test_what_is_published_is_said_by_timm() -> None:
    said = published(model())
    assert said.sizes == ((176, 176), (224, 224))
    assert said.classes is None
    named = load_model("resnet10t", img_size=32, num_classes=2)
    named.default_cfg = {**named.default_cfg, "label_names": ["cat", "dog"]}
    assert published(named).classes == SMALL


def test_trainings_and_exports_say_what_they_learnt_from(tmp_path: Path) -> None:
    images = TrainedOn(SMALL, ((16, 16),), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    file = CheckpointFile(tmp_path / "supernet.safetensors", "x", images.record())
    file.save(Checkpoint(1, {"network.w": torch.ones(2)}))
    assert file.load() is not None
    assert trained_on(tmp_path / "supernet.safetensors", model()) == images
    network = made("deit", seed=0)
    for name in ("merged", "again"):
        export_safetensors(network, tmp_path / f"{name}.safetensors", Plan(model="deit"), {ENTRY: images.to_json()})
    assert trained_on(tmp_path / "merged.safetensors", model()) == images
    content = (tmp_path / "merged.safetensors").read_bytes()
    assert content == (tmp_path / "again.safetensors").read_bytes()
    assert int.from_bytes(content[:8], "little") % 8 == 0
    tensors = safetensors.torch.load(content)
    assert all(torch.equal(tensors[key], tensor) for key, tensor in network.state_dict().items())


def test_metadata_has_its_order_from_its_names(tmp_path: Path) -> None:
    """The library gives several entries no set order: with nine, forty files alike by chance are all but impossible."""
    network = torch.nn.Linear(2, 2)
    more = {f"entry {number}": str(number) for number in range(8)}
    written = set()
    for index in range(40):
        path = tmp_path / f"{index}.safetensors"
        export_safetensors(network, path, Plan(model="x"), more)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_the_first_class_that_differs_is_named() -> None:
    (told,) = differences(TrainedOn(BY_LETTERS), TrainedOn(NATURAL))
    # 0, 1, 10, 11, 2, ..., 9 beside 0, 1, 2, 3, ...: but for the first two all differ.
    assert told.startswith("the classes stand in another order: label 2 is '10' in the weights and '2' in these images")
    assert "10 of 12 labels differ" in told
    assert "--class-map" in told
    (told,) = differences(TrainedOn({"tabby": 0, "dog": 1}), TrainedOn(SMALL))
    assert told.startswith("the classes have other names: label 0 is 'tabby' in the weights and 'cat' in these images")
    (told,) = differences(TrainedOn(SMALL), TrainedOn(SMALL | {"eel": 2}))
    assert "label 2 is no class in the weights and 'eel' in these images, and 1 of 3 labels differ" in told
    assert differences(TrainedOn(SMALL), TrainedOn(dict(reversed(SMALL.items())))) == []


def test_other_sizes_and_figures_are_named_with_the_option() -> None:
    weights = TrainedOn(None, ((176, 176), (224, 224)), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    for size in ((176, 176), (224, 224)):
        assert differences(weights, TrainedOn(None, (size,), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))) == []
    told = differences(weights, TrainedOn(None, ((32, 64),), (0.485, 0.5, 0.5), (0.2, 0.2, 0.25)))
    assert told[0].startswith(
        "the weights are for images of 176x176 or 224x224 pixels, and these are 32x64: see --img-size"
    )
    assert told[1].endswith("normalised by the mean 0.5 0.5 0.5, and these are by 0.485 0.5 0.5: --mean 0.5 0.5 0.5")
    assert told[2].endswith("--std 0.2 0.2 0.2")
    assert differences(TrainedOn(), TrainedOn(SMALL, ((32, 32),), (0.5,), (0.5,))) == []
