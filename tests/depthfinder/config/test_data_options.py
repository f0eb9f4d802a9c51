"""The options about images as they are typed, and what a run makes of them."""

import re
from pathlib import Path

import pytest
import yaml

from commands import Command
from depthfinder.config.data import DataConfig
from depthfinder.config.declared import declared_in, made, with_changes
from depthfinder.config.run import RunConfig
from depthfinder.errors import DifferentRunError
from depthfinder.folder.run_folder import RunFolder
from depthfinder.pipeline.claiming import claim
from folders import folder_of

SMALL = "--model deit_tiny_patch16_224 --img-size 16 --model-kwargs patch_size=8 --model-kwargs embed_dim=24 "
SEARCH = f"search {SMALL} --model-kwargs depth=2 --device null --max-seconds 0.1 --budget-ratio 0.8 --n-trials 2 "
QUICK = SEARCH + "--supernet-epochs 1 --fit-images 40 --train-batch-size 8 --experiment run "


def test_a_search_over_a_folder_with_bad_images(depthfinder: Command, tmp_path: Path) -> None:
    folder_of(tmp_path / "images")
    (tmp_path / "images" / "train" / "cat" / "bad.jpg").write_bytes(b"text")
    words = "--data-dir images --skip-bad-images --aa rand-m9-mstd0.5 --reprob 0.25 --mean 0.4 0.5 0.6 --crop-pct 1 "
    first = depthfinder(*(QUICK + words + "-j 1").split())
    assert first.returncode == 0, first.stderr
    assert (
        "images that cannot be decoded and are left out: 1, named in depthfinder-out/run/bad-images.txt" in first.stderr
    )
    assert "left out" in (tmp_path / "depthfinder-out" / "run" / "log.txt").read_text()
    listed = (tmp_path / "depthfinder-out" / "run" / "bad-images.txt").read_text()
    assert "images/train/cat/bad.jpg" in listed

    # Where images are decoded changes nothing; how they are varied does.
    again = depthfinder(*(QUICK + words + "-j 0").split())
    assert (again.returncode, "finished already" in again.stdout) == (0, True), again.stderr
    other = depthfinder(*(QUICK + words + "--hflip 0").split())
    assert (other.returncode, "hflip: 0.5 then, 0.0 now" in other.stderr) == (2, True)
    repeated = depthfinder("search", "--config", "depthfinder-out/run/args.yaml", "--experiment", "run")
    assert "finished already" in repeated.stdout, repeated.stderr


def test_a_bad_image_ends_a_run_with_a_line(depthfinder: Command, tmp_path: Path) -> None:
    folder_of(tmp_path / "images")
    for index in range(12):
        (tmp_path / "images" / "train" / "cat" / f"{index}.png").write_bytes(b"text")
    done = depthfinder(*(QUICK + "--data-dir images -j 1").split())
    assert done.returncode == 3
    assert re.search(r"error: images/train/cat/\d+\.png cannot be read as an image.*--skip-bad-images", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("--data-dir images --val-split evening", 3, "images has no split 'evening'; there are: train, val"),
        ("--data-dir images --class-map map.pkl", 3, "map.pkl is a pickle"),
        ("--data-dir images --aa nonsense", 3, "timm makes no transform"),
        ("--dataset torch/cifar10 --data-dir images", 3, "torch/cifar10 in images cannot be opened: Dataset not found"),
        ("--dataset hfdss/x", 3, "nearest: hfds"),
        ("--dataset wds/", 3, "name it with --data-dir"),
        ("--scale 1 0.5", 2, "1.0 is above 0.5"),
        ("--scale 0 nan", 2, "0.0 is not a positive number"),
        ("--std 0.5 0.5 inf", 2, "inf is not a finite number"),
        ("--mean 0.5 nan 0.5", 2, "nan is not a finite number"),
        ("--hflip 1.5", 2, "should be less than or equal to 1"),
        ("--remode none", 2, "'none' is not one of 'const', 'rand', 'pixel'"),
        ("--interpolation random", 2, "'random' is not one of"),
        ("-j -1", 2, "should be greater than or equal to 0"),
        ("-j many", 2, "unable to parse string as an integer"),
        ("--crop-pct 0", 2, "0.0 is not a positive number"),
    ],
)
def test_what_cannot_be_had_is_one_line(
    depthfinder: Command, tmp_path: Path, words: str, status: int, message: str
) -> None:
    folder_of(tmp_path / "images", per_class=3)
    done = depthfinder(*(QUICK + words).split())
    assert done.returncode == status, done.stderr
    assert message in re.sub(r"[\s│]+", " ", done.stderr)
    assert "Traceback" not in done.stderr


def test_arguments_survive_their_file(tmp_path: Path) -> None:
    arguments = made(
        RunConfig,
        {
            "model": "m",
            "model_kwargs": {"depth": 2},
            "dataset": "folder",
            "data_dir": "images",
            "device": "null",
            "budget_ratio": 0.5,
            "supernet_epochs": 1,
            "progressive_epochs": 1,
            "train_batch_size": 8,
            "lr": 1e-3,
            "keep": ("blocks.0",),
            "scale": (0.5, 1.0),
            "mean": (0.1, 0.2, 0.3),
            "scored_by": "supernet",
        },
    )
    folder = RunFolder(tmp_path)
    claim(folder, arguments)
    assert RunConfig.load(tmp_path / "args.yaml") == arguments
    folder.checkpoint("supernet").parent.mkdir()
    folder.checkpoint("supernet").write_text("trained")
    claim(folder, with_changes(arguments, data_workers=4))
    with pytest.raises(DifferentRunError, match="scale"):
        claim(folder, with_changes(arguments, scale=(0.4, 1.0)))

    # A file from before there were such options.
    old = yaml.safe_load((tmp_path / "args.yaml").read_text())
    for one in declared_in(DataConfig):
        if one.name not in ("dataset", "data_dir"):
            del old[one.name]
    (tmp_path / "args.yaml").write_text(yaml.safe_dump(old))
    claim(folder, with_changes(arguments, scale=(0.08, 1.0), mean=None))
