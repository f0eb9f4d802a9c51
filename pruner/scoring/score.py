"""What a plan is worth: the figures of one evaluation, and the bound that a race drops plans by."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """How good a plan is. `value` is what plans are ranked by, higher is better; the rest is there where the plan was
    evaluated on images."""

    value: float
    accuracy: float | None = None
    """Top-1 in [0, 1] on the images that were seen."""
    cross_entropy: float | None = None
    """Nats per image; None too where the network gave no number for some image."""
    agreement: float | None = None
    """The share of images on which the top-1 is the baseline's."""
    distance: float | None = None
    """How far the outputs are from the baseline's, in the mean over the images, where no labels were asked; see
    `pruner/scoring/distance.py`."""
    images: int | None = None
    """How many images were seen; fewer than all: the plan was dropped from the race."""


@dataclass
class Tally:
    """What was counted for one plan on the images seen so far, of `total`.

    A plan's value is (hits + exp(-cross-entropy)) / (images + 1). As exp(-cross-entropy) is in [0, 1], plans are
    ordered by accuracy, and among equals by cross-entropy.

    With h hits and s nats over n of N images, the value over all N can be no more than

        bound = (h + (N - n) + exp(-s / N)) / (N + 1),

    since what is left can add N - n hits at most, and takes no nats away. So a plan whose bound is below the bar cannot
    reach it. Nor does its value over the n images: exp(-s / n) <= exp(-s / N), and adding N - n above and below the
    line of a fraction that is 1 at most makes it no smaller, so

        (h + exp(-s / n)) / (n + 1) <= (h + exp(-s / n) + (N - n)) / (N + 1) <= bound < bar.
    """

    total: int
    images: int = 0
    hits: int = 0
    agreed: int = 0
    nats: float = 0.0

    def add(self, images: int, hits: int, agreed: int, nats: float) -> None:
        """`nats` is the sum over the images; a network that gives no numbers is infinitely wrong."""
        self.images += images
        self.hits += hits
        self.agreed += agreed
        self.nats += math.inf if math.isnan(nats) else nats

    @property
    def bound(self) -> float:
        """The best value that the plan can still come to; once all images were seen, its value."""
        return (self.hits + (self.total - self.images) + math.exp(-self.nats / self.total)) / (self.total + 1)

    def score(self) -> Score:
        """The score over the images that were seen."""
        value = (self.hits + math.exp(-self.nats / self.images)) / (self.images + 1)
        return Score(
            value=min(value, self.bound),  # which it is above by rounding at most
            accuracy=self.hits / self.images,
            cross_entropy=self.nats / self.images if math.isfinite(self.nats) else None,
            agreement=self.agreed / self.images,
            images=self.images,
        )


@dataclass
class DistanceTally(Tally):
    """The same where no labels are asked: `nats` are distances from the baseline's outputs, `hits` do not count.

    A plan's value is exp(-mean distance) n / (n + 1), over n images: below 1 even for a plan that changes nothing. Over
    all N it can be no more than exp(-s / N) N / (N + 1), s what was added so far, since no distance is negative; nor is
    the value over the n images, for s / n >= s / N and n / (n + 1) <= N / (N + 1).
    """

    @property
    def bound(self) -> float:
        return math.exp(-self.nats / self.total) * self.total / (self.total + 1)

    def score(self) -> Score:
        value = math.exp(-self.nats / self.images) * self.images / (self.images + 1)
        return Score(
            value=min(value, self.bound),
            agreement=self.agreed / self.images,
            distance=self.nats / self.images if math.isfinite(self.nats) else None,
            images=self.images,
        )
