"""What is asked for of a data set: where it is, which of its splits, and how its images are read."""

from dataclasses import dataclass, field
from pathlib import Path

from pruner.data.variation import Augmentation, Evaluation
from pruner.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """`dataset` is "folder", or what timm calls a data set: torch/NAME, hfds/NAME, hfids/NAME, wds/NAME, tfds/NAME.

    `root` is its folder on this machine. Where a split has no name, the usual names are tried. `download` lets a data
    set that is not here be fetched.
    """

    dataset: str = "folder"
    root: Path | None = None
    train_split: str | None = None
    val_split: str | None = None
    class_map: Path | None = None
    download: bool = False


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How images become batches. With a `bad_images` file, images that cannot be decoded are left out and listed there;
    without one, the first of them ends the work."""

    augmentation: Augmentation = field(default_factory=Augmentation)
    evaluation: Evaluation = field(default_factory=Evaluation)
    workers: int = 0
    bad_images: Path | None = None
    progress: Progress = silent
