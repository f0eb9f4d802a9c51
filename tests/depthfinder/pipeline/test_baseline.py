"""What a run says of the network before anything is done to it."""

import json
import logging
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from commands import Command
from depthfinder.config.declared import made
from depthfinder.config.run import RunConfig
from depthfinder.console import Watch
from depthfinder.folder.run_folder import RunFolder
from depthfinder.pipeline.baseline import baseline_accuracy
from depthfinder.pipeline.carry_out import carry_out
from depthfinder.pipeline.held_out import held_out_accuracy
from depthfinder.pipeline.run import Run
from pruner.models.load import load_model
from pruner.models.trained_on import trained_on
from pruner.models.weights_file import read_weights

NAMES = [str(number) for number in range(12)]
PER_CLASS = 12


def images_of(root: Path) -> Path:
    """Twelve classes, each of a shade of its own, the same images to train and to test."""
    for split in ("train", "val"):
        for number, name in enumerate(NAMES):
            (root / split / name).mkdir(parents=True)
            for index in range(PER_CLASS):
                shade = (20 * number + index, 240 - 20 * number, 60 + index)
                Image.new("RGB", (32, 32), shade).save(root / split / name / f"{index}.png")
    return root


def run_on(tmp_path: Path, **asked: Any) -> Run:
    images = tmp_path / "images"
    if not images.exists():
        images_of(images)
    arguments: dict[str, Any] = {
        "model": "resnet10t",
        "img_size": 32,
        "dataset": "folder",
        "data_dir": str(images),
        "device": "null",
        "budget_ratio": 0.7,
        "max_seconds": 0.1,
        "n_trials": 2,
    }
    folder = RunFolder(tmp_path / f"run {len(list(tmp_path.glob('run *')))}")
    folder.path.mkdir()
    return Run(made(RunConfig, arguments | asked), folder, tmp_path / "profiles", Watch(shown=False))


@torch.no_grad()
def knowing(run: Run, order: list[str] = NAMES) -> nn.Module:
    """A network whose last layer, solved for in least squares, tells the classes apart, with labels in `order`."""
    network = load_model("resnet10t", img_size=32, num_classes=len(NAMES))
    batches = list(run.data.test_batches(batch_size=PER_CLASS))
    features = torch.cat([network.forward_head(network.forward_features(x), pre_logits=True) for x, _ in batches])
    labels = torch.tensor([order.index(NAMES[label]) for _, found in batches for label in found.tolist()])
    known = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    solved = torch.linalg.pinv(known) @ nn.functional.one_hot(labels).double()
    network.fc.weight.copy_(solved[:-1].T)
    network.fc.bias.copy_(solved[-1])
    return network


def judged(run: Run, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of the network."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "depthfinder"):
        carry_out(run, ["baseline"])
    said = [line for line in caplog.messages if line.startswith(("weights", "baseline: ", "warning"))]
    assert said.pop().startswith("baseline: done in ")
    return said


def saved(network: nn.Module, path: Path, **more: Any) -> str:
    torch.save({"state_dict": network.state_dict()} | more, path)
    return str(path)


def test_a_network_that_knows_its_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = saved(knowing(run_on(tmp_path)), tmp_path / "a.pt", class_to_idx={n: i for i, n in enumerate(NAMES)})
    run = run_on(tmp_path, checkpoint=checkpoint)
    assert judged(run, caplog) == [
        f"weights: {len(run.uncut.network.state_dict())} tensors from {checkpoint}",
        "baseline: 100.00 % of 144 held-out images are right",
    ]
    assert baseline_accuracy(run) == held_out_accuracy(run.uncut.network, run.data, run.world.device) == 1.0


def test_a_network_that_learnt_the_classes_in_another_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By letters: 0 and 1 alone have the labels that they have in natural order."""
    order = sorted(NAMES)
    network = knowing(run_on(tmp_path), order)
    silent = run_on(tmp_path, checkpoint=saved(network, tmp_path / "silent.pt"))
    _, figure, warning = judged(silent, caplog)
    assert figure == f"baseline: {100 * 2 / 12:.2f} % of 144 held-out images are right"
    assert "another order than in the weights" in warning
    assert "100.0% are right (class 2 of the network is label 10 here, '10'); --class-map FILE" in warning
    assert json.loads(silent.folder["baseline.json"].read_text())["warnings"] == [warning.removeprefix("warning: ")]

    telling = run_on(tmp_path, checkpoint=saved(network, tmp_path / "telling.pt", classes=order))
    told = judged(telling, caplog)
    assert "label 2 is '10' in the weights and '2' in these images, and 10 of 12 labels differ; --class-map" in told[2]

    (tmp_path / "order.txt").write_text("\n".join(order))
    mended = {"class_map": str(tmp_path / "order.txt"), "checkpoint": str(tmp_path / "telling.pt")}
    assert judged(run_on(tmp_path, **mended), caplog)[1:] == ["baseline: 100.00 % of 144 held-out images are right"]


def test_a_network_that_knows_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    random = judged(run_on(tmp_path), caplog)
    assert random[0] == "weights: random, for neither --pretrained nor --checkpoint FILE was given"
    assert random[2].startswith("warning: the network has learnt nothing yet")
    constant = knowing(run_on(tmp_path))
    nn.init.zeros_(constant.fc.weight)
    *_, warning = judged(run_on(tmp_path, checkpoint=saved(constant, tmp_path / "a.pt")), caplog)
    assert "guessing gets no less, as far as 144 images can tell (8.3% by any of 12 classes, 8.3% by always" in warning
    assert all(option in warning for option in ("--class-map", "--img-size", "--mean", "--checkpoint"))


def test_images_unlike_those_that_the_weights_know(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = Namespace(img_size=64, input_size=None, mean=[0.5, 0.5, 0.5], std=None)
    network = knowing(run_on(tmp_path))
    _, _, size, mean = judged(run_on(tmp_path, checkpoint=saved(network, tmp_path / "a.pt", args=asked)), caplog)
    assert size == "warning: the weights are for images of 64x64 pixels, and these are 32x32: see --img-size"
    assert mean.endswith("and these are by 0.485 0.456 0.406: --mean 0.5 0.5 0.5")
    wide = run_on(tmp_path, model_kwargs={"img_size": 32, "num_classes": 20})
    assert "answers with 20 classes, and the images have 12" in judged(wide, caplog)[2]


def test_it_is_said_before_and_after_the_networks_own_training(depthfinder: Command, tmp_path: Path) -> None:
    images_of(tmp_path / "images")
    words = "sparsify --model resnet10t --img-size 32 --data-dir images --device null --granularity 2:4 --epochs 1 "
    words += "--finetune-epochs 1 --train-batch-size 32 --lr 1e-3 --experiment here --distill-loss-weight 0"
    done = depthfinder(*words.split())
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "held-out images are right" in line]
    assert [line.partition(":")[0] for line in said] == ["baseline", "baseline after its training"]
    assert "has learnt nothing yet" not in done.stderr
    assert done.stderr.splitlines()[0].startswith("images: classes are numbered as timm does")
    places = [done.stderr.index(text) for text in ("baseline: ", "finetune epoch", "after its training:")]
    assert places == sorted(places)
    folder = tmp_path / "depthfinder-out" / "here"
    result = json.loads((folder / "result.json").read_text())
    assert result["accuracy_before"] == json.loads((folder / "finetuned.json").read_text())["accuracy"]
    # 130 of 144 images are trained on, in 4 steps of 32: first the network itself, then under masks from there on.
    steps = {name: read_weights(folder / name) for name in ("masked.safetensors", "checkpoints/finetune.safetensors")}
    assert steps["checkpoints/finetune.safetensors"]["network.bn1.num_batches_tracked"] == 4
    assert steps["masked.safetensors"]["bn1.num_batches_tracked"] == 8
    # What is trained here says which classes it knows, so that nobody has to guess later.
    model = load_model("resnet10t")
    for name in ("masked.safetensors", "checkpoints/finetune.safetensors"):
        said_of = trained_on(folder / name, model)
        assert said_of.classes == {name: label for label, name in enumerate(NAMES)}
        assert said_of.sizes == ((32, 32),)
