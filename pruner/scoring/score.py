"""The score of a plan, the counts that it follows from, and the bound by which a race drops plans."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """How good a plan is. All but `value` is known only where the plan was evaluated on images.

    Example:
        >>> from pruner.scoring.score import Score
        >>> score = Score(value=0.912, accuracy=0.91, images=500)
        >>> score.accuracy, score.distance
        (0.91, None)
    """

    value: float
    """What plans are ranked by; higher is better."""
    accuracy: float | None = None
    """Top-1 in [0, 1] on the images that were seen."""
    cross_entropy: float | None = None
    """Nats per image; None too where the network's outputs were not finite for some image."""
    agreement: float | None = None
    """The share of images on which the top-1 class is that of the uncut network."""
    distance: float | None = None
    """The mean distance of the outputs from those of the uncut network, where plans are scored without labels; see
    `pruner/scoring/distance.py`."""
    images: int | None = None
    """How many images were seen. Where these are not all, the plan was dropped from the race."""


@dataclass
class Tally:
    """What was counted for one plan on the images seen so far.

    A plan's value is (hits + exp(-cross-entropy)) / (images + 1). As exp(-cross-entropy) is in [0, 1], plans are
    ordered by accuracy, and among equals by cross-entropy.

    With h hits and s nats over n of N images, the value over all N can be no more than

        bound = (h + (N - n) + exp(-s / N)) / (N + 1),

    since the images that are left add N - n hits at most, and take no nats away. So a plan whose bound is below the bar
    cannot reach the bar. Its value over the n images does not reach the bar either: exp(-s / n) <= exp(-s / N), and
    adding N - n to both numerator and denominator of a fraction that is at most 1 does not make it smaller, so

        (h + exp(-s / n)) / (n + 1) <= (h + exp(-s / n) + (N - n)) / (N + 1) <= bound < bar.

    Attributes:
        total: The number N of images to score by.
        images: The number n of images seen so far.
        hits: On how many of them the top-1 class is the label.
        agreed: On how many of them the top-1 class is that of the uncut network.
        nats: The sum of their cross-entropies.

    Example:
        >>> from pruner.scoring.score import Tally
        >>> tally = Tally(total=100)
        >>> tally.add(images=50, hits=40, agreed=45, nats=30.0)
        >>> round(tally.bound, 3), tally.score().accuracy
        (0.898, 0.8)
    """

    total: int
    images: int = 0
    hits: int = 0
    agreed: int = 0
    nats: float = 0.0

    def add(self, images: int, hits: int, agreed: int, nats: float) -> None:
        """Adds what was counted on some more images.

        Args:
            images: How many images.
            hits: On how many of them the top-1 class is the label.
            agreed: On how many of them the top-1 class is that of the uncut network.
            nats: The sum of their cross-entropies, or of their distances; NaN counts as infinite.
        """
        self.images += images
        self.hits += hits
        self.agreed += agreed
        self.nats += math.inf if math.isnan(nats) else nats

    @property
    def bound(self) -> float:
        """The highest value that the plan can still reach; its value once all images were seen."""
        return (self.hits + (self.total - self.images) + math.exp(-self.nats / self.total)) / (self.total + 1)

    def score(self) -> Score:
        """The score over the images that were seen."""
        value = (self.hits + math.exp(-self.nats / self.images)) / (self.images + 1)
        return Score(
            value=min(value, self.bound),  # rounding alone may put it above the bound
            accuracy=self.hits / self.images,
            cross_entropy=self.nats / self.images if math.isfinite(self.nats) else None,
            agreement=self.agreed / self.images,
            images=self.images,
        )


@dataclass
class DistanceTally(Tally):
    """What was counted for one plan where plans are scored without labels.

    Here `nats` is the sum s of the distances from the uncut network's outputs, and `hits` do not count. A plan's value
    over n images is exp(-s / n) n / (n + 1), which is below 1 even for a plan that changes nothing. The value over all
    N images can be no more than exp(-s / N) N / (N + 1), since no distance is negative. Nor is the value over the n
    images more than that, for s / n >= s / N and n / (n + 1) <= N / (N + 1).
    """

    @property
    def bound(self) -> float:
        """The highest value that the plan can still reach; its value once all images were seen."""
        return math.exp(-self.nats / self.total) * self.total / (self.total + 1)

    def score(self) -> Score:
        """The score over the images that were seen."""
        value = math.exp(-self.nats / self.images) * self.images / (self.images + 1)
        return Score(
            value=min(value, self.bound),
            agreement=self.agreed / self.images,
            distance=self.nats / self.images if math.isfinite(self.nats) else None,
            images=self.images,
        )
