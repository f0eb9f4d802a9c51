"""Settings of how images are varied for training and cut to size for evaluation, with timm's names and defaults."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from profiles.option import CHECKED, Option

Interpolation = Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]
TrainInterpolation = Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos", "random"]
EraseMode = Literal["const", "rand", "pixel"]

_PANEL: Final = "Images"


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    if low > high:
        raise ValueError(f"{low} is above {high}: the smaller one comes first")
    return limits


Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, config=CHECKED)
class Augmentation:
    """How training images are varied, with timm's own defaults.

    Example:
        >>> from pruner.data.variation import Augmentation
        >>> Augmentation(hflip=0.0).scale
        (0.08, 1.0)
    """

    PANEL: ClassVar = _PANEL

    no_aug: Annotated[bool, Option("Train on images as they are, cut to size.")] = False
    scale: Annotated[
        tuple[Positive, Positive],
        Option("Shares of an image that a random crop may have.", typed_as=tuple[float, float]),
        AfterValidator(_rising),
    ] = (0.08, 1.0)
    ratio: Annotated[
        tuple[Positive, Positive],
        Option("Aspect ratios that a random crop may have.", typed_as=tuple[float, float]),
        AfterValidator(_rising),
    ] = (3 / 4, 4 / 3)
    hflip: Annotated[float, Option("Share of images that are mirrored."), Field(ge=0, le=1)] = 0.5
    vflip: Annotated[float, Option("Share of images that are put upside down."), Field(ge=0, le=1)] = 0.0
    color_jitter: Annotated[float, Option("How much brightness, contrast and saturation vary."), Field(ge=0, le=1)] = (
        0.4
    )
    aa: Annotated[str | None, Option("timm's AutoAugment policy, such as rand-m9-mstd0.5-inc1 or original.")] = None
    reprob: Annotated[float, Option("Share of images in which a rectangle is erased."), Field(ge=0, le=1)] = 0.0
    remode: Annotated[EraseMode, Option("What takes the erased rectangle's place.")] = "pixel"
    recount: Annotated[int, Option("The most rectangles that are erased."), Field(ge=1, le=1000)] = 1
    train_interpolation: Annotated[TrainInterpolation, Option("How training images are resized.")] = "random"


@dataclass(frozen=True, config=CHECKED)
class Evaluation:
    """How images are resized, cropped and normalised for evaluation; None is as the network's configuration says."""

    PANEL: ClassVar = _PANEL

    interpolation: Annotated[
        Interpolation | None, Option("How images are resized for evaluation; by default as the model has it.")
    ] = None
    crop_pct: Annotated[
        float | None, Option("Share of the resized image that is cut out for evaluation."), Field(gt=0)
    ] = None
    mean: Annotated[
        tuple[float, ...] | None,
        Option("Means to normalise red, green, blue by.", typed_as=tuple[float, float, float]),
    ] = None
    std: Annotated[
        tuple[Positive, ...] | None,
        Option("Deviations to normalise red, green, blue by.", typed_as=tuple[float, float, float]),
    ] = None
