"""A network's answers on labelled images: how many are right, and whether that is more than guessing gets."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import nn

from pruner.algebra.answer import answer_of
from pruner.data.images import Batch
from pruner.progress import Progress, silent

_OUTSIDE: Final = 0.05
"""The probability that the number of hits of a guess lies outside its interval."""
_WORTH_TELLING: Final = 0.1


@dataclass(frozen=True)
class Relabelling:
    """The accuracy of a network if each answer is read as the class that it is most often given to.

    Attributes:
        accuracy: In [0, 1], on every second image. The reading is taken from the other images, so that it is not better
            by chance.
        first: The first answer that is not read as itself, and the class that it is read as.
    """

    accuracy: float
    first: tuple[int, int]


@dataclass(frozen=True)
class Answers:
    """The top-1 answers of a network on labelled images.

    Attributes:
        answers: The class that the network answers for each image, (N,).
        labels: The class of each image, (N,).
        outputs: How many classes the network knows.

    Example:
        >>> import numpy as np
        >>> from pruner.scoring.answers import Answers
        >>> answers = Answers(np.array([1, 1, 0, 1]), np.array([1, 1, 0, 0]), outputs=10)
        >>> answers.right, answers.accuracy, answers.largest_share
        (3, 0.75, 0.5)
    """

    answers: np.ndarray
    labels: np.ndarray
    outputs: int

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.labels)

    @property
    def right(self) -> int:
        """On how many images the answer is the label."""
        return int((self.answers == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """The share of images on which the answer is the label."""
        return self.right / self.images

    @property
    def largest_share(self) -> float:
        """The share of the images that are of the most frequent class."""
        return int(np.unique(self.labels, return_counts=True)[1].max()) / self.images

    def is_near_chance(self, num_classes: int) -> bool:
        """Whether guessing gets as many answers right.

        That is so where the number of right answers is not above the binomial 95 % interval of guessing one of all
        classes at random, or is within that of always guessing the most frequent class.
        """
        low, high = binomial_interval(self.images, self.largest_share)
        return self.right <= binomial_interval(self.images, 1 / num_classes)[1] or low <= self.right <= high

    def relabelled(self) -> Relabelling | None:
        """The accuracy if answers are read as other classes, as where labels are numbered in another order.

        Returns:
            None unless that reading is right on a tenth more of the images, by more than chance explains, and on more
            images than always guessing the most frequent class.
        """
        meant = _meaning(self.answers[::2], self.labels[::2])
        answers, labels = self.answers[1::2], self.labels[1::2]
        if not len(labels):
            return None
        read = np.array([meant.get(int(answer), int(answer)) for answer in answers])
        hits, before = read == labels, answers == labels
        gained, lost = int((hits & ~before).sum()), int((before & ~hits).sum())
        by_chance = gained <= binomial_interval(gained + lost, 0.5)[1]
        as_guessed = hits.sum() <= binomial_interval(len(labels), self.largest_share)[1]
        if gained - lost < _WORTH_TELLING * len(labels) or by_chance or as_guessed:
            return None
        first = next((answer, label) for answer, label in sorted(meant.items()) if answer != label)
        return Relabelling(float(hits.mean()), first)


def answers_on(network: nn.Module, batches: Iterable[Batch], progress: Progress = silent) -> Answers:
    """The network's top-1 answers on all images; it is left in evaluation mode.

    Raises `ValueError` when there are no images.
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    answers, labels, outputs, right = [], [], 0, 0
    network.eval()
    with torch.inference_mode():
        for images, expected in batches:
            logits = answer_of(network(images.to(device)))
            answers.append(logits.argmax(dim=1).cpu())
            labels.append(expected)
            outputs = logits.shape[1]
            right += int((answers[-1] == expected).sum())
            seen = sum(map(len, labels))
            progress(seen, seen, f"{right / seen:.1%} right so far")
    if not labels:
        raise ValueError("there are no images to answer on")
    return Answers(torch.cat(answers).numpy(), torch.cat(labels).numpy(), outputs)


def binomial_interval(trials: int, chance: float, outside: float = _OUTSIDE) -> tuple[int, int]:
    """The interval that the number of hits in independent trials lies in with high probability.

    Args:
        trials: How many trials there are.
        chance: The probability of a hit in each.
        outside: The probability, at most, of a number outside the interval; half of it on either side.

    Returns:
        The fewest and the most hits of the interval.

    Example:
        >>> from pruner.scoring.answers import binomial_interval
        >>> binomial_interval(100, 0.5)
        (40, 60)
    """
    if chance >= 1 or not trials:
        return trials, trials
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    hits = np.arange(trials + 1)
    ways = log_factorial[-1] - log_factorial - log_factorial[::-1]
    probability = np.exp(ways + hits * np.log(chance) + (trials - hits) * np.log1p(-chance))
    below, above = np.cumsum(probability), np.cumsum(probability[::-1])[::-1]
    # below[k] is P(at most k), above[k] is P(at least k).
    most = int(np.argmax(np.append(above[1:], 0.0) <= outside / 2))
    fewest = trials - int(np.argmax(np.append(below[:-1][::-1], 0.0) <= outside / 2))
    return fewest, most


def _meaning(answers: np.ndarray, labels: np.ndarray) -> dict[int, int]:
    """Answer -> the most frequent class among the images that it was given to; of equals the lowest."""
    found: dict[int, Counter[int]] = {}
    for answer, label in zip(answers.tolist(), labels.tolist(), strict=True):
        found.setdefault(answer, Counter())[label] += 1
    return {answer: min(counted, key=lambda label: (-counted[label], label)) for answer, counted in found.items()}
