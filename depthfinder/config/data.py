"""Settings of the images that a network is trained and judged on, in timm's spelling."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from profiles.option import CHECKED, Option
from pruner.data.variation import Augmentation, Evaluation


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class DataConfig:
    """The images that a network is given, and how they are augmented and cut to size."""

    PANEL: ClassVar = "Images"

    dataset: Annotated[
        str,
        Option(
            "digits (built in), folder, unlabelled (a folder of images), or torch/NAME, hfds/NAME, hfids/NAME, wds/, "
            "tfds/NAME as timm names them.",
            default_text="folder; digits for the demo",
        ),
    ] = "folder"
    data_dir: Annotated[
        str | None,
        Option(
            "Where the images are; an ImageFolder is FOLDER/train/CLASS/... with FOLDER/val/CLASS/..., or "
            "FOLDER/CLASS/...",
            is_first=True,
        ),
    ] = None
    train_split: Annotated[str | None, Option("The split to train on, a tenth of it set apart for the search.")] = None
    val_split: Annotated[str | None, Option("The split for the final test, which the search never sees.")] = None
    class_map: Annotated[
        str | None, Option("The classes in the order of their labels: one name a line, or JSON of names and labels.")
    ] = None
    dataset_download: Annotated[
        bool,
        Option("Fetch the data set if it is not here.", changes_nothing=True),
    ] = False
    skip_bad_images: Annotated[bool, Option("Read all images once, and leave out and list those that are none.")] = (
        False
    )
    data_workers: Annotated[
        int,
        Option("Processes that decode images; 0: the one that trains.", ("--data-workers", "-j"), changes_nothing=True),
        Field(ge=0, le=1024),
    ] = 0
    augmentation: Augmentation = Augmentation()
    evaluation: Evaluation = Evaluation()

    @property
    def has_labels(self) -> bool:
        """Whether the images have labels. Without them, the answers of the uncut network count as right."""
        return self.dataset != "unlabelled"
