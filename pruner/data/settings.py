"""Settings of a data set: where it is, which of its splits are used, and how its images are read."""

from dataclasses import dataclass, field
from pathlib import Path

from pruner.data.variation import Augmentation, Evaluation
from pruner.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which data set to open, and where it is.

    Attributes:
        dataset: "folder", "unlabelled", or what timm calls a data set: torch/NAME, hfds/NAME, hfids/NAME, wds/NAME,
            tfds/NAME.
        root: The folder of the data set on this machine.
        train_split: The name of the training split; None tries the usual names.
        val_split: The name of the split to test with; None tries the usual names.
        class_map: A file that says which class has which label.
        download: Whether a data set that is not on this machine may be downloaded.
    """

    dataset: str = "folder"
    root: Path | None = None
    train_split: str | None = None
    val_split: str | None = None
    class_map: Path | None = None
    download: bool = False


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How the images of a data set become batches.

    Attributes:
        augmentation: How training images are varied.
        evaluation: How images are resized, cropped and normalised, where not as the network's configuration says.
        workers: How many processes decode images; 0 decodes them in this one.
        bad_images: The file that lists the images that cannot be decoded, which are then left out. Without one, the
            first such image raises an error.
        progress: Is told how far the search for such images is.
    """

    augmentation: Augmentation = field(default_factory=Augmentation)
    evaluation: Evaluation = field(default_factory=Evaluation)
    workers: int = 0
    bad_images: Path | None = None
    progress: Progress = silent
