"""Whether a network's answers are more than guesses, and whether another order of classes makes them right."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
import torch
from torch import nn

from pruner.scoring.answers import Answers, answers_on, binomial_interval
from pruner.training.accuracy import accuracy

LABELS = np.repeat(np.arange(12), 24)


def exact_interval(trials: int, chance: Fraction) -> tuple[int, int]:
    """The same from its definition, in fractions."""
    probability = [comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(trials + 1)]
    limit = Fraction(1, 40)
    most = next(k for k in range(trials + 1) if sum(probability[k + 1 :]) <= limit)
    fewest = next(k for k in range(trials, -1, -1) if sum(probability[:k]) <= limit)
    return fewest, most


@pytest.mark.parametrize(
    ("trials", "chance"), [(1, "1/2"), (2, "1/2"), (10, "1/2"), (48, "1/12"), (50, "9/10"), (300, "1/100"), (7, "1/3")]
)
def test_the_interval_is_that_of_the_definition(trials: int, chance: str) -> None:
    assert binomial_interval(trials, float(Fraction(chance))) == exact_interval(trials, Fraction(chance))


def test_intervals_worked_out_by_hand() -> None:
    # Of ten throws of a coin 1 or fewer come with 11/1024 < 1/40, 2 or fewer with 56/1024 > 1/40.
    assert binomial_interval(10, 0.5) == (2, 8)
    assert binomial_interval(5, 1.0) == (5, 5)
    assert binomial_interval(0, 0.5) == (0, 0)
    # For many images the interval is that of the normal distribution, 5,000 +- 1.96 * 67.08, to within an image or two.
    fewest, most = binomial_interval(50_000, 0.1)
    assert abs(fewest - 4868.5) <= 2
    assert abs(most - 5131.5) <= 2


def test_right_answers_are_counted_as_everywhere() -> None:
    batches = [(torch.randn(7, 6), torch.randint(4, (7,))) for _ in range(3)]
    network = nn.Linear(6, 5)
    answers = answers_on(network, batches)
    assert answers.accuracy == accuracy(network, batches)
    assert (answers.images, answers.outputs) == (21, 5)
    with pytest.raises(ValueError, match="no images"):
        answers_on(network, [])


def answered(labels: np.ndarray, right: int) -> Answers:
    """The first `right` answers right, the others one beside."""
    return Answers(np.where(np.arange(len(labels)) < right, labels, labels + 1), labels, 12)


def test_guesses_are_told_from_knowledge() -> None:
    labels = np.arange(48) % 12
    assert exact_interval(48, Fraction(1, 12)) == (1, 8)
    assert all(answered(labels, right).is_near_chance(12) for right in (0, 1, 4, 8))
    assert not answered(labels, 9).is_near_chance(12)
    # 40 of 50 images are of one class: 80 % right is what naming it always gets; 40 % and 98 % are not.
    uneven = np.array([0] * 40 + [1] * 10)
    assert exact_interval(50, Fraction(4, 5)) == (34, 45)
    near = [answered(uneven, right).is_near_chance(10) for right in (20, 33, 34, 45, 46, 49)]
    assert near == [False, False, True, True, False, False]


def test_another_order_of_classes_is_found() -> None:
    """A network that learnt the classes by letters, on folders in natural order: 0 and 1 alone stand where they did."""
    by_letters = sorted(range(12), key=str)
    found = Answers(np.array([by_letters.index(label) for label in LABELS]), LABELS, 12)
    assert found.accuracy == pytest.approx(2 / 12)
    relabelled = found.relabelled()
    assert relabelled is not None
    assert relabelled.accuracy == 1.0
    assert relabelled.first == (2, 10)
    # Two classes, the one taken for the other.
    two = np.arange(40) // 20
    flipped = Answers(1 - two, two, 2).relabelled()
    assert flipped is not None
    assert (flipped.accuracy, flipped.first) == (1.0, (0, 1))


@pytest.mark.parametrize("seed", range(5))
def test_no_order_is_found_in_guesses_and_in_what_is_right(seed: int) -> None:
    random = np.random.default_rng(seed)
    assert Answers(random.integers(12, size=288), LABELS, 12).relabelled() is None
    assert Answers(np.zeros(288, np.int64), LABELS, 12).relabelled() is None
    assert Answers(LABELS, LABELS, 12).relabelled() is None
    noisy = np.where(random.random(288) < 0.3, random.integers(12, size=288), LABELS)
    assert Answers(noisy, LABELS, 12).relabelled() is None
    # Always the rare one of two: read as the frequent one, three quarters are right, and nothing is known.
    uneven = np.array([0, 0, 0, 1] * 50)
    assert Answers(np.ones(200, np.int64), uneven, 2).relabelled() is None
