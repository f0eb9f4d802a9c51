"""Digit scenes: real handwritten digits moved, turned, scaled, tinted and made noisy, as 32-pixel RGB images.

The 1,797 source images ship inside scikit-learn, so nothing is downloaded. Each source image belongs to exactly
one split: no training or calibration scene is ever made from a source image that the test scenes show.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pruner.data.images import WHOLE, Batch, Part, full_steps, generator

SIDE = 32
_SPLIT_SEED = 20240220
_NUM_TEST_SOURCES = 400
_NUM_CALIBRATION_SOURCES = 200


@dataclass(frozen=True)
class DigitScenes:
    """The built-in data set: 10 classes, images of shape (3, 32, 32) scaled to about [-1, 1].

    Training scenes are made afresh for every epoch; calibration and test scenes are always the same.

    Attributes:
        train_images: Scenes in an epoch.
        calibration_images: Scenes to choose plans by.
        test_images: Scenes to report the accuracy on.

    Example:
        >>> from pruner.data.digits import DigitScenes
        >>> data = DigitScenes()
        >>> data.input_size, data.num_classes, data.steps_per_epoch(batch_size=64)
        ((3, 32, 32), 10, 31)
    """

    train_images: int = 2_000
    calibration_images: int = 400
    test_images: int = 2_000

    name: str = "digits"
    num_classes: int = 10
    input_size: tuple[int, int, int] = (3, SIDE, SIDE)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns how many full batches an epoch has, and 1 where it has none."""
        return full_steps(self.train_images, batch_size)

    def train_batches(
        self, *, epoch: int, batch_size: int, seed: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """Yields one epoch of fresh scenes; the same epoch and seed always give the same scenes.

        Args:
            epoch: The epoch's number, from 0.
            batch_size: Scenes in a batch, over all processes.
            seed: The seed of the training.
            start: The first step that is made; those before it are left out.
            part: The share of every batch that this process is given.
        """
        part.check(batch_size)
        sources = _sources("train")
        for step in range(start, self.steps_per_epoch(batch_size)):
            images, labels = _scenes(sources, batch_size, generator(seed, epoch, step))
            yield images[part.rank :: part.count], labels[part.rank :: part.count]

    def calibration_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """Yields the scenes on which plans are scored and BatchNorm statistics estimated."""
        return _fixed_scenes("calibration", self.calibration_images, batch_size, part)

    def test_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """Yields the held-out scenes on which the reported accuracy is measured."""
        return _fixed_scenes("test", self.test_images, batch_size, part)


def _fixed_scenes(split: str, count: int, batch_size: int, part: Part) -> Iterator[Batch]:
    images, labels = _scenes(_sources(split), count, generator(_SPLIT_SEED, len(split), count))
    for batch_images, batch_labels in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        if part.rank < len(batch_labels):
            yield batch_images[part.rank :: part.count], batch_labels[part.rank :: part.count]


@functools.cache
def _sources(split: str) -> tuple[Tensor, Tensor]:
    """The source images of one split: ink in [0, 1] of shape (N, 1, 8, 8), and labels of shape (N,)."""
    # Imported here: reading the digits takes scikit-learn, which no other data set needs.
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=generator(_SPLIT_SEED))
    test = order[:_NUM_TEST_SOURCES]
    calibration = order[_NUM_TEST_SOURCES : _NUM_TEST_SOURCES + _NUM_CALIBRATION_SOURCES]
    train = order[_NUM_TEST_SOURCES + _NUM_CALIBRATION_SOURCES :]
    chosen = {"train": train, "calibration": calibration, "test": test}[split]
    ink = torch.from_numpy(digits.images).float().div(16.0).unsqueeze(1)
    return ink[chosen], torch.from_numpy(digits.target).long()[chosen]


def _scenes(sources: tuple[Tensor, Tensor], count: int, random: torch.Generator) -> Batch:
    """Images (count, 3, 32, 32) and labels (count,), every choice drawn from `random`."""
    ink, labels = sources
    picked = torch.randint(len(labels), (count,), generator=random)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=random)

    size = uniform(0.55, 1.0)  # of the digit's cell, as a share of the image's side
    angle = uniform(-0.35, 0.35)  # radians
    shift_x, shift_y = uniform(-1.0, 1.0) * (1 - size), uniform(-1.0, 1.0) * (1 - size)
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    # Rows of the map from image to cell coordinates: turn and scale about the shifted centre.
    theta = torch.stack(
        [
            torch.stack([cos, sin, -(cos * shift_x + sin * shift_y)], dim=1),
            torch.stack([-sin, cos, -(-sin * shift_x + cos * shift_y)], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(theta, [count, 1, SIDE, SIDE], align_corners=False)
    drawn = functional.grid_sample(ink[picked], grid, align_corners=False)
    paper, pen = uniform(0.0, 0.35, 3, 1, 1), uniform(0.6, 1.0, 3, 1, 1)
    noise = uniform(0.02, 0.18, 1, 1, 1) * torch.randn(count, 3, SIDE, SIDE, generator=random)
    return (paper + drawn * (pen - paper) + noise - 0.5) / 0.5, labels[picked]
