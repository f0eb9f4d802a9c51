"""What a run was asked for about its images."""

from dataclasses import dataclass
from typing import Literal

Interpolation = Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]
TrainInterpolation = Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos", "random"]
EraseMode = Literal["const", "rand", "pixel"]


@dataclass(frozen=True, kw_only=True)
class DataArguments:
    """Which images, and how they are varied and cut to size."""

    dataset: str
    data_dir: str | None
    train_split: str | None = None
    val_split: str | None = None
    class_map: str | None = None
    dataset_download: bool = False
    skip_bad_images: bool = False
    data_workers: int = 0
    no_aug: bool = False
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    vflip: float = 0.0
    color_jitter: float = 0.4
    aa: str | None = None
    reprob: float = 0.0
    remode: EraseMode = "pixel"
    recount: int = 1
    train_interpolation: TrainInterpolation = "random"
    interpolation: Interpolation | None = None
    crop_pct: float | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    @property
    def has_labels(self) -> bool:
        """Whether something says what the images show; else what the uncut network answers counts as right."""
        return self.dataset != "unlabelled"
