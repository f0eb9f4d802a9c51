"""Digit relations: scenes of two handwritten digits among fragments of others, to be told which digit is the larger.

Plain digits forgive nearly any cut. Here a network has to find the two whole digits, read both and compare them, under
noise, so that what a cut takes from it shows. The source images are those of the digit scenes, split anew: no training
or calibration scene is ever made from a source image that the test scenes show.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pruner.data.images import WHOLE, Batch, Part, generator

SIDE = 32
_SPLIT_SEED = 20240311
_NUM_TEST_SOURCES = 400
_NUM_CALIBRATION_SOURCES = 200
_NUM_DIGITS = 2
_NUM_FRAGMENTS = 2


@dataclass(frozen=True)
class DigitRelations:
    """Images of shape (3, 32, 32) scaled to about [-1, 1]; the class is the larger of the two digits.

    Training scenes are made afresh for every epoch; calibration and test scenes are always the same.
    """

    train_images: int = 4_096
    calibration_images: int = 400
    test_images: int = 4_000

    name: str = "relations"
    num_classes: int = 10
    input_size: tuple[int, int, int] = (3, SIDE, SIDE)

    def steps_per_epoch(self, batch_size: int) -> int:
        return max(1, self.train_images // batch_size)

    def train_batches(
        self, *, epoch: int, batch_size: int, seed: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """One epoch of fresh scenes; the same epoch and seed always give the same scenes."""
        for step in range(start, self.steps_per_epoch(batch_size)):
            images, labels = _scenes("train", batch_size, generator(seed, epoch, step))
            yield images[part.rank :: part.count], labels[part.rank :: part.count]

    def calibration_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """The scenes on which plans are scored and BatchNorm statistics estimated."""
        return _fixed_scenes("calibration", self.calibration_images, batch_size, part)

    def test_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        """The held-out scenes on which the accuracy that is reported is counted."""
        return _fixed_scenes("test", self.test_images, batch_size, part)


@dataclass(frozen=True)
class FewRelations(DigitRelations):
    """What somebody has who wants to prune a network that was trained elsewhere on more: a fixed set of `train_images`
    scenes, the same in every epoch, in another order."""

    train_images: int = 1_024
    name: str = "few-relations"

    def train_batches(
        self, *, epoch: int, batch_size: int, seed: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """One epoch over the set, in an order of its own."""
        images, labels = _kept_scenes(self.train_images)
        order = torch.randperm(self.train_images, generator=generator(seed, epoch))
        for step in range(start, self.steps_per_epoch(batch_size)):
            some = order[step * batch_size : (step + 1) * batch_size][part.rank :: part.count]
            yield images[some], labels[some]


@functools.cache
def _kept_scenes(count: int) -> Batch:
    return _scenes("train", count, generator(_SPLIT_SEED, count))


def _fixed_scenes(split: str, count: int, batch_size: int, part: Part) -> Iterator[Batch]:
    images, labels = _scenes(split, count, generator(_SPLIT_SEED, len(split), count))
    for some, answers in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        yield some[part.rank :: part.count], answers[part.rank :: part.count]


@functools.cache
def _sources(split: str) -> tuple[Tensor, Tensor]:
    """Ink in [0, 1] of shape (N, 8, 8) and labels of shape (N,), of the source images of one split."""
    # Imported here: reading the digits takes scikit-learn, which no other data set needs.
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=generator(_SPLIT_SEED))
    test = order[:_NUM_TEST_SOURCES]
    calibration = order[_NUM_TEST_SOURCES : _NUM_TEST_SOURCES + _NUM_CALIBRATION_SOURCES]
    train = order[_NUM_TEST_SOURCES + _NUM_CALIBRATION_SOURCES :]
    chosen = {"train": train, "calibration": calibration, "test": test}[split]
    ink = torch.from_numpy(digits.images).float().div(16.0)
    return ink[chosen], torch.from_numpy(digits.target).long()[chosen]


def _scenes(split: str, count: int, random: torch.Generator) -> Batch:
    """Images (count, 3, 32, 32) and labels (count,), every choice drawn from `random`."""
    ink, digits = _sources(split)
    items = _NUM_DIGITS + _NUM_FRAGMENTS
    picked = torch.randint(len(digits), (count, items), generator=random)
    drawn = _placed(_cut_to_fragments(ink[picked], random), random)
    labels = digits[picked[:, :_NUM_DIGITS]].amax(dim=1)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=random)

    paper, pen = uniform(0.0, 0.35, 3, 1, 1), uniform(0.6, 1.0, 3, 1, 1)
    noise = uniform(0.02, 0.15, 1, 1, 1) * torch.randn(count, 3, SIDE, SIDE, generator=random)
    return (paper + drawn * (pen - paper) + noise - 0.5) / 0.5, labels


def _cut_to_fragments(ink: Tensor, random: torch.Generator) -> Tensor:
    """`ink` (count, items, 8, 8) where of every item behind the digits only one corner is left."""
    count, items = ink.shape[:2]
    corners = torch.eye(4).view(4, 2, 2).repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    which = torch.randint(4, (count, items - _NUM_DIGITS), generator=random)
    return torch.cat([ink[:, :_NUM_DIGITS], ink[:, _NUM_DIGITS:] * corners[which]], dim=1)


def _placed(ink: Tensor, random: torch.Generator) -> Tensor:
    """Pictures (count, 1, 32, 32) of `ink` (count, 4, 8, 8): an item in every quarter, in any order, each moved, turned
    and scaled a little."""
    count, items = ink.shape[:2]
    order = torch.rand(count, items, generator=random).argsort(dim=1)
    shuffled = ink.gather(1, order[:, :, None, None].expand_as(ink)).view(count * items, 1, 8, 8)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count * items, generator=random)

    size, angle = uniform(0.85, 1.0), uniform(-0.15, 0.15)
    x, y = uniform(-0.1, 0.1), uniform(-0.1, 0.1)
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    # Rows of the map from the quarter's to the item's coordinates: turn and scale about the item's centre.
    theta = torch.stack([cos, sin, -(cos * x + sin * y), -sin, cos, sin * x - cos * y], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(theta, [count * items, 1, SIDE // 2, SIDE // 2], align_corners=False)
    drawn = functional.grid_sample(shuffled, grid, align_corners=False)
    return _joined(drawn.view(count, 2, 2, SIDE // 2, SIDE // 2))


def _joined(quarters: Tensor) -> Tensor:
    """Quarters (count, 2, 2, 16, 16) by row and column as pictures (count, 1, 32, 32)."""
    return quarters.transpose(2, 3).reshape(len(quarters), 1, SIDE, SIDE)
