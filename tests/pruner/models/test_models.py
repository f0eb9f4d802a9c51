import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pruner.data.digits import DigitScenes
from pruner.errors import CheckpointError, UnknownModelError
from pruner.models.load import load_model, load_model_and_source
from pruner.models.names import ModelName
from pruner.network.surgery import describe
from pruner.training.accuracy import accuracy


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match="nearest: deit_tiny_patch16_224"):
        load_model("deit_tiny_patch16_244")


def test_the_shipped_network_is_deits_shape_and_trained() -> None:
    model = load_model("deit_digits", pretrained=True)
    chain = describe(model)
    assert len(chain.blocks) == 24
    assert chain.model == "deit_digits"
    assert chain.input_size == (3, 32, 32)
    assert accuracy(model, DigitScenes(test_images=600).test_batches(batch_size=200)) >= 0.95


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_checkpoint_is_loaded(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(1)
    source = load_model("deit_digits", depth=1)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(source.state_dict(), path)
    else:
        save_file(source.state_dict(), path)
    loaded = load_model("deit_digits", checkpoint=path, depth=1)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in source.state_dict().items())


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(load_model("deit_digits", depth=1).state_dict(), path)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        load_model("deit_digits", checkpoint=path, depth=2)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        load_model("deit_digits", checkpoint=tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "name",
    [
        "resnet18.a1_in1k",
        "timm/resnet18.a1_in1k",
        "hf-hub:timm/resnet18.a1_in1k",
        "hf_hub:timm/resnet18.a1_in1k",
        "HF-Hub:timm/resnet18.a1_in1k",
        " resnet18.a1_in1k ",
    ],
)
def test_a_name_may_have_a_tag_and_the_hubs_prefix(name: str) -> None:
    assert ModelName.parse(name) == ModelName("resnet18", "a1_in1k")
    assert str(ModelName.parse(name)) == "resnet18.a1_in1k"
    model = load_model(name, img_size=32)
    chain = describe(model)
    assert chain.model == "resnet18"
    assert chain.fingerprint == describe(load_model("resnet18", img_size=32)).fingerprint


@pytest.mark.parametrize("tag", ["a1_in1k", "tv_in1k"])
def test_the_tag_says_which_weights_are_asked_for(tag: str) -> None:
    configuration: dict[str, object] = load_model(f"timm/resnet18.{tag}").pretrained_cfg  # type: ignore[assignment]
    assert (configuration["tag"], configuration["hf_hub_id"]) == (tag, f"timm/resnet18.{tag}")


def test_the_tag_may_say_another_size() -> None:
    assert describe(load_model("convnext_small.fb_in22k_ft_in1k_384", depths=(1, 1, 1, 1))).input_size == (3, 384, 384)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("resnet18.a1_in2k", "resnet18 has no published weights called 'a1_in2k'; nearest: resnet18.a1_in1k"),
        ("hf-hub:timm/resnet18.nonsense", "resnet18 has no published weights called 'nonsense'; nearest: resnet18"),
        ("vgg11_bn.x.y", "vgg11_bn has no published weights called 'x.y'; nearest: vgg11_bn.tv_in1k"),
        ("test_vit4.mine", "test_vit4 has no published weights called 'mine'"),
        ("resnet19.a1_in1k", "no model is called 'resnet19.a1_in1k'; nearest: resnet"),
        ("deit_digits.a1", "no model is called 'deit_digits.a1'; nearest: deit_digits"),
        ("hf-hub:someone/resnet18", "'someone/resnet18' is no network of timm's own: .* --checkpoint"),
        ("local-dir:../weights", "is no network of timm's own"),
        ("", "no model is called ''"),
    ],
)
def test_a_name_that_there_is_not_is_refused(name: str, answer: str) -> None:
    with pytest.raises(UnknownModelError, match=answer):
        load_model(name)


_FROM_THE_HUB = """
import json
from pruner.errors import CheckpointError
from pruner.models.load import load_model_and_source

told = {}
for tag in ("e1200_r224_in1k", "e2400_r224_in1k", "e3600_r256_in1k"):
    try:
        model, loaded = load_model_and_source(f"hf-hub:timm/mobilenetv4_conv_small.{tag}", pretrained=True)
        told[tag] = loaded.source, float(model.state_dict()["classifier.bias"].sum())
    except CheckpointError as error:
        told[tag] = str(error), 0
print(json.dumps(told))
"""


def test_pretrained_takes_the_weights_of_the_tag(tmp_path: Path) -> None:
    """From the hub's own cache, without a network; what is not in it cannot be had."""
    model = load_model("mobilenetv4_conv_small")
    for value, tag in enumerate(("e1200_r224_in1k", "e2400_r224_in1k")):
        nn.init.constant_(model.get_parameter("classifier.bias"), value)
        there = tmp_path / "hub" / f"models--timm--mobilenetv4_conv_small.{tag}"
        (there / "refs").mkdir(parents=True)
        (there / "refs" / "main").write_text("0" * 40)
        (there / "snapshots" / ("0" * 40)).mkdir(parents=True)
        save_file(model.state_dict(), there / "snapshots" / ("0" * 40) / "model.safetensors")
    environment = os.environ | {
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", _FROM_THE_HUB], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["e1200_r224_in1k"] == ["hub timm/mobilenetv4_conv_small.e1200_r224_in1k", 0.0]
    assert told["e2400_r224_in1k"] == ["hub timm/mobilenetv4_conv_small.e2400_r224_in1k", 1000.0]
    absent = "the pretrained weights of mobilenetv4_conv_small.e3600_r256_in1k could not be had"
    assert told["e3600_r256_in1k"][0].startswith(absent)


def test_the_weights_that_ship_leave_nothing_to_be_assumed() -> None:
    _, loaded = load_model_and_source("deit_digits", pretrained=True)
    assert loaded is not None
    assert "taken for a grid" not in loaded.text
