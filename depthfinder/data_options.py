"""The options about images, in timm's spelling, each with its help."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from depthfinder.data_arguments import EraseMode, Interpolation, TrainInterpolation

Figures = TypeVar("Figures", bound="float | Sequence[float] | None")


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, **more)


def _positive(value: Figures) -> Figures:
    for figure in value if isinstance(value, Sequence) else [value]:
        if figure is not None and not (math.isfinite(figure) and figure > 0):
            raise typer.BadParameter(f"{figure} is not a positive number")
    return value


def _range(value: tuple[float, float]) -> tuple[float, float]:
    low, high = _positive(value)
    if low > high:
        raise typer.BadParameter(f"{low} is above {high}: the smaller one comes first")
    return value


def _finite(value: Figures) -> Figures:
    for figure in value if isinstance(value, Sequence) else [value]:
        if figure is not None and not math.isfinite(figure):
            raise typer.BadParameter(f"{figure} is not a number")
    return value


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which images a network is trained and judged on, and what they go through."""

    dataset: Annotated[
        str | None,
        _option(
            "digits (built in), folder, unlabelled (a folder of images), or torch/NAME, hfds/NAME, hfids/NAME, wds/, "
            "tfds/NAME as timm names them."
        ),
    ] = None
    data_dir: Annotated[
        str | None,
        _option(
            "Where the images are; an ImageFolder is FOLDER/train/CLASS/... with FOLDER/val/CLASS/..., or "
            "FOLDER/CLASS/..."
        ),
    ] = None
    train_split: Annotated[str | None, _option("The split to train on, a tenth of it set apart for the search.")] = None
    val_split: Annotated[str | None, _option("The split for the final test, which the search never sees.")] = None
    class_map: Annotated[
        str | None, _option("The classes in the order of their labels: one name a line, or JSON of names and labels.")
    ] = None
    dataset_download: Annotated[bool, _option("Fetch the data set if it is not here.", "--dataset-download")] = False
    skip_bad_images: Annotated[
        bool, _option("Read all images once, and leave out and list those that are none.", "--skip-bad-images")
    ] = False
    data_workers: Annotated[
        int, _option("Processes that decode images; 0: the one that trains.", "--data-workers", "-j", min=0, max=1024)
    ] = 0
    no_aug: Annotated[bool, _option("Train on images as they are, cut to size.", "--no-aug")] = False
    scale: Annotated[
        tuple[float, float], _option("Shares of an image that a random crop may have.", callback=_range)
    ] = (0.08, 1.0)
    ratio: Annotated[tuple[float, float], _option("Aspect ratios that a random crop may have.", callback=_range)] = (
        3 / 4,
        4 / 3,
    )
    hflip: Annotated[float, _option("Share of images that are mirrored.", min=0, max=1)] = 0.5
    vflip: Annotated[float, _option("Share of images that are put upside down.", min=0, max=1)] = 0.0
    color_jitter: Annotated[float, _option("How much brightness, contrast and saturation vary.", min=0, max=1)] = 0.4
    aa: Annotated[str | None, _option("timm's AutoAugment policy, such as rand-m9-mstd0.5-inc1 or original.")] = None
    reprob: Annotated[float, _option("Share of images in which a rectangle is erased.", min=0, max=1)] = 0.0
    remode: Annotated[EraseMode, _option("What takes the erased rectangle's place.")] = "pixel"
    recount: Annotated[int, _option("The most rectangles that are erased.", min=1, max=1000)] = 1
    train_interpolation: Annotated[TrainInterpolation, _option("How training images are resized.")] = "random"
    interpolation: Annotated[
        Interpolation | None, _option("How images are resized for evaluation; by default as the model has it.")
    ] = None
    crop_pct: Annotated[
        float | None, _option("Share of the resized image that is cut out for evaluation.", callback=_positive)
    ] = None
    mean: Annotated[
        tuple[float, float, float] | None, _option("Means to normalise red, green, blue by.", callback=_finite)
    ] = None
    std: Annotated[
        tuple[float, float, float] | None, _option("Deviations to normalise red, green, blue by.", callback=_positive)
    ] = None


def data_values(asked: DataOptions) -> dict[str, Any]:
    """What was asked for, as `DataArguments` takes it."""
    return {field.name: getattr(asked, field.name) for field in dataclasses.fields(DataOptions)}
