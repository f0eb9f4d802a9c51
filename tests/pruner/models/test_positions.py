"""Position embeddings of grids that are not square: resampled by their true grid, or refused with a way to tell it."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from commands import Command
from pruner.errors import CheckpointError
from pruner.models.load import load_model, load_model_and_source

SMALL: dict[str, Any] = {"embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 4}
NAME = "vit_tiny_patch16_224"


def network(**kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    model = load_model(NAME, **SMALL | kwargs)
    nn.init.normal_(model.get_parameter("pos_embed"))
    return model


def resampled(table: Tensor, prefix: int, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """By the definition: the grid as an image with a channel for every number of a position."""
    rows = [list(table[0, prefix + source[1] * row : prefix + source[1] * (row + 1)]) for row in range(source[0])]
    image = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)[None]
    image = functional.interpolate(image, size=target, mode="bicubic", antialias=True)
    patches = [image[0, :, row, column] for row in range(target[0]) for column in range(target[1])]
    return torch.cat([table[0, :prefix], torch.stack(patches)])[None]


def opened(path: Path, **kwargs: Any) -> tuple[Tensor, str]:
    model, loaded = load_model_and_source(NAME, checkpoint=path, **SMALL | kwargs)
    assert loaded is not None
    return model.get_parameter("pos_embed").data, loaded.text


MORE = ["--model-kwargs", "depth=1", "--model-kwargs", "num_classes=10"]
TELLING: dict[str, dict[str, Any]] = {
    "img_size": {"args": argparse.Namespace(img_size=[32, 128], input_size=None, model=NAME)},
    "input_size": {"args": argparse.Namespace(img_size=None, input_size=(3, 32, 128), model=NAME)},
    "model_kwargs": {"args": argparse.Namespace(img_size=None, model_kwargs={"img_size": [32, 128]}), "epoch": 3},
    "a dictionary": {"hyper_parameters": {"img_size": (32, 128)}},
}


@pytest.mark.parametrize("size", [(64, 64), (32, 64), (128, 32), (48, 80)])
@pytest.mark.parametrize("told", ["the caller", *TELLING])
def test_the_true_grid_is_resampled(tmp_path: Path, told: str, size: tuple[int, int]) -> None:
    """2 x 8 patches, of which there are as many as in 4 x 4."""
    wide, path = network(img_size=(32, 128)), tmp_path / "wide.pth"
    torch.save(wide.state_dict() if told == "the caller" else TELLING[told] | {"state_dict": wide.state_dict()}, path)
    said = {"checkpoint_img_size": (32, 128)} if told == "the caller" else {}
    found, text = opened(path, img_size=size, **said)
    grid = (size[0] // 16, size[1] // 16)
    torch.testing.assert_close(found, resampled(wide.get_parameter("pos_embed").data, 1, (2, 8), grid))
    by = "what was said" if said else "the arguments in the file"
    assert f"resized: pos_embed; positions resampled from 2x8 to {grid[0]}x{grid[1]}, known by {by}" in text


@pytest.mark.parametrize("told", ["the caller", *TELLING])
def test_the_same_grid_is_left_alone(tmp_path: Path, told: str) -> None:
    wide, path = network(img_size=(32, 128)), tmp_path / "wide.pth"
    torch.save(wide.state_dict() if told == "the caller" else TELLING[told] | {"state_dict": wide.state_dict()}, path)
    said = {"checkpoint_img_size": (32, 128)} if told == "the caller" else {}
    found, text = opened(path, img_size=(32, 128), **said)
    assert torch.equal(found, wide.get_parameter("pos_embed"))
    assert "positions" not in text


@pytest.mark.parametrize(
    "more", [{"class_token": False, "global_pool": "avg"}, {"no_embed_class": True}, {"reg_tokens": 4}], ids=str
)
def test_what_is_no_patch_keeps_its_place(tmp_path: Path, more: dict[str, Any]) -> None:
    wide, path = network(img_size=(32, 128), **more), tmp_path / "wide.pth"
    torch.save(wide.state_dict(), path)
    table = wide.get_parameter("pos_embed").data
    found, _ = opened(path, img_size=64, checkpoint_img_size=(32, 128), **more)
    torch.testing.assert_close(found, resampled(table, table.shape[1] - 16, (2, 8), (4, 4)))


def test_patches_may_be_of_another_size_too(tmp_path: Path) -> None:
    wide, path = network(img_size=(32, 128)), tmp_path / "wide.pth"
    torch.save(wide.state_dict(), path)
    found, text = opened(path, img_size=(32, 64), patch_size=8, checkpoint_img_size=(32, 128))
    torch.testing.assert_close(found, resampled(wide.get_parameter("pos_embed").data, 1, (2, 8), (4, 8)))
    assert "patch_embed.proj.weight" in text


def test_the_published_size_is_known(tmp_path: Path) -> None:
    """196 positions of a network that timm has at 224 pixels in patches of 16."""
    model, path = network(), tmp_path / "square.pth"
    torch.save(model.state_dict(), path)
    found, text = opened(path, img_size=(32, 64))
    torch.testing.assert_close(found, resampled(model.get_parameter("pos_embed").data, 1, (14, 14), (2, 4)))
    assert "positions resampled from 14x14 to 2x4, known by timm's configuration" in text
    assert "positions" not in opened(path)[1]


@pytest.mark.parametrize(
    ("source", "target", "grid"),
    [((64, 64), (64, 64), "4x4"), ((64, 64), (32, 32), "4x4"), ((32, 96), (32, 96), "2x6")],
)
def test_what_is_assumed_is_said(tmp_path: Path, source: tuple[int, int], target: tuple[int, int], grid: str) -> None:
    model, path = network(img_size=source), tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    found, text = opened(path, img_size=target)
    assert f"positions taken for a grid of {grid} (say otherwise with --checkpoint-img-size)" in text
    sides = tuple(side // 16 for side in source), tuple(side // 16 for side in target)
    torch.testing.assert_close(found, resampled(model.get_parameter("pos_embed").data, 1, *sides))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "target", "grids"),
    [
        ((32, 128), (32, 64), "1x16, 2x8, 4x4"),
        ((32, 128), (32, 128), "1x16, 2x8, 4x4"),
        ((32, 96), (64, 64), "1x12, 2x6, 3x4"),
        ((32, 96), (32, 64), "1x12, 2x6, 3x4"),
    ],
)
def test_what_cannot_be_known_is_refused(
    tmp_path: Path, source: tuple[int, int], target: tuple[int, int], grids: str
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(network(img_size=source).state_dict(), path)
    with pytest.raises(CheckpointError, match=rf"its \d+ positions are of \({grids}\).*--checkpoint-img-size"):
        opened(path, img_size=target)


def test_a_size_that_the_file_is_not_of_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(network(img_size=64).state_dict(), path)
    with pytest.raises(CheckpointError, match="is not for images of 32x32: they would have 2x2 patches of 16x16"):
        opened(path, img_size=64, checkpoint_img_size=32)


def test_it_is_told_on_the_command_line(tmp_path: Path, depthfinder: Command) -> None:
    path = tmp_path / "wide.pth"
    torch.save(load_model(NAME, img_size=(32, 128), num_classes=10, depth=1).state_dict(), path)
    words = ["run", "--model", NAME, *MORE, "--img-size", "32x32", "--checkpoint", str(path)]
    words += ["--dataset", "digits", "--device", "null", "--budget-ratio", "0.9"]
    refused = depthfinder(*words, "--checkpoint-img-size", "32x64")
    assert refused.returncode == 3
    assert "is not for images of 32x64: they would have 2x4 patches of 16x16" in refused.stderr
    assert depthfinder(*words, "--checkpoint-img-size", "wide").returncode == 2
    more = ["--supernet-epochs", "1", "--n-trials", "2", "--max-seconds", "2"]
    done = depthfinder("search", *words[1:], *more, "--checkpoint-img-size", "32x128")
    assert done.returncode == 0, done.stderr
    assert "positions resampled from 2x8 to 2x2, known by what was said" in done.stderr
    assert depthfinder("search", *words[1:], *more, "--checkpoint-img-size", "32,128").returncode == 0
