"""A data set of random images that lie in memory, so that nothing but the training takes time."""

from collections.abc import Iterator
from dataclasses import dataclass

from pruner.data.images import WHOLE, Batch, Part

CALIBRATION_IMAGES = 2  # judging an epoch is not counted


@dataclass(frozen=True)
class RandomImages:
    """A data set whose epochs are one batch, `steps` times. What it holds lies in memory."""

    batch: Batch
    steps: int
    num_classes: int
    name: str = "random images"

    @property
    def input_size(self) -> tuple[int, int, int]:
        channels, height, width = self.batch[0].shape[1:]
        return channels, height, width

    def steps_per_epoch(self, batch_size: int) -> int:
        return self.steps

    def train_batches(
        self, *, epoch: int, batch_size: int, seed: int, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        for _ in range(start, self.steps):
            yield self.batch

    def calibration_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        images, labels = self.batch
        yield images[:CALIBRATION_IMAGES], labels[:CALIBRATION_IMAGES]

    def test_batches(self, *, batch_size: int, part: Part = WHOLE) -> Iterator[Batch]:
        return self.calibration_batches(batch_size=batch_size)
