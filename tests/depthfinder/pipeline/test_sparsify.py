"""The command `sparsify`, typed as a user types it."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from commands import Command
from depthfinder.folder.mask_result import MeasuredRemoval
from profiles.measurement import Measurement, Ratio
from profiles.profile import Setting
from pruner.masks.export import read_masks
from pruner.models.load import load_model
from pruner.models.weights_file import read_weights

SMALL = [
    *shlex.split("sparsify --model deit_tiny_patch16_224 --img-size 32 --dataset digits --device null --epochs 1"),
    *shlex.split("--train-batch-size 256 --distill-loss-weight 0 --max-seconds 0.1 --experiment here"),
    *(
        word
        for pair in ("patch_size=16", "embed_dim=12", "depth=2", "num_heads=2", "num_classes=10")
        for word in ("--model-kwargs", pair)
    ),
]
FOLDER = Path("depthfinder-out/here")


def test_blocks_are_masked_and_the_same_command_finds_it_finished(depthfinder: Command) -> None:
    words = [*SMALL, "--granularity", "4x4", "--sparsity", "0.4"]
    done = depthfinder(*words)
    assert done.returncode == 0, done.stderr
    assert "smart: 39.8% of all groups (4x4)" in done.stdout
    assert "Nothing runs faster by itself" in done.stdout
    assert "masks epoch   1/1" in done.stderr
    masks, weights = read_masks(FOLDER / "masks.safetensors"), read_weights(FOLDER / "masked.safetensors")
    assert all(not weights[name][~mask].any() for name, mask in masks.items())
    result = json.loads((FOLDER / "result.json").read_text())
    gone = sum(int((~mask).sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
    assert result["weights_gone"] == pytest.approx(gone, abs=1e-6)
    assert result["sparsity"] == pytest.approx(0.4, abs=0.01)
    assert result["layers"].keys() == {name.removesuffix(".weight") for name in masks}
    assert result["removal"] is None
    assert result["parameters_before"] == result["parameters_after"]
    again = depthfinder(*words)
    assert "this is finished already" in again.stdout
    assert json.loads(depthfinder(*words, "--json").stdout) == result
    other = depthfinder(*words, "--epochs", "2")
    assert other.returncode == 2
    assert "epochs: 1 then, 2 now" in other.stderr


def test_channels_are_removed_and_both_networks_measured(depthfinder: Command) -> None:
    done = depthfinder(*SMALL, "--granularity", "channels", "--method", "magnitude", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    removal = result["removal"]
    assert result["verdict"].startswith("It paid: the network without these channels takes 0.")
    assert removal["ratio"]["value"] == pytest.approx(result["parameters_after"] / result["parameters_before"])
    assert removal["setting"]["device"] == "null"
    assert result["sparsity"] == 0.5
    kwargs = {"img_size": 32, "patch_size": 16, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 10}
    masked = load_model("deit_tiny_patch16_224", checkpoint=FOLDER / "masked.safetensors", **kwargs)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(FOLDER / "pruned.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(logits, masked(images).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("--method smrt", 2, "no method is called 'smrt'; nearest: smart, acdc"),
        ("--granularity 16y8", 2, "there is no granularity '16y8': give the sides of a block (16x8x1x1"),
        ("--granularity 2:4 --sparsity 0.3", 2, "2:4 is a sparsity of 0.5, not 0.3"),
        ("--sparsity 1.0", 2, "a sparsity is a share in (0, 1), not 1"),
        ("--sparsity 0.999 --granularity 64x64", 2, "is the most"),
        ("--search-share 1", 2, "in a share of the training in (0, 1), not 1.0"),
        ("--train-torchcompile", 2, "--train-torchcompile does not go with masks"),
        ("--granularity channels --device abacus", 3, "no device is called 'abacus'"),
        ("--model vgg11 --data-dir nowhere", 3, "there is no folder nowhere"),
        ("--checkpoint none.pth", 3, "there is no file none.pth"),
        ("--opt adamm", 2, "timm makes no optimizer of --opt adamm"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_status(
    depthfinder: Command, words: str, status: int, message: str, tmp_path: Path
) -> None:
    done = depthfinder("sparsify", *words.split())
    assert done.returncode == status, done.stderr
    assert message in re.sub(r"[\s│]+", " ", done.stderr)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "depthfinder-out").exists()


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.8, 0.9, "It paid"), (0.9, 1.1, "which cannot be told from 1"), (1.1, 1.2, "so it is slower")],
)
def test_the_verdict_goes_by_the_interval(low: float, high: float, said: str) -> None:
    setting = Setting("ort-cpu", "this one", "ort 1", "fp32", 1, 1)
    measured = Measurement(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 3)
    assert said in MeasuredRemoval(setting, measured, measured, Ratio((low + high) / 2, low, high)).verdict
