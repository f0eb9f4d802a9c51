"""The exact solver beside counting: the best of every plan there is, on instances small enough for that."""

import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pruner.choices.chain import Block, Chain
from search import solver
from search.limits import CountLimit, Limit, SizeLimit
from search.solver import solve
from search.space import Array, Space

CHOICES = ("keep", "merge", "shrink", "drop")


def space_of(ways: list[int], random: np.random.Generator, tightness: float = 0.5) -> Space:
    """Blocks with so many ways to be cut, two limits on what they weigh and one on how many are cut."""
    blocks = tuple(Block(f"blocks.{i}", "kind", f"block {i}", CHOICES[: 1 + n]) for i, n in enumerate(ways))
    limits: list[Limit] = []
    for unit in ("parameters", "milliseconds"):
        sizes = {(block.name, choice): float(random.uniform(0, 3)) for block in blocks for choice in block.choices}
        whole = sum(sizes[block.name, "keep"] for block in blocks)
        least = sum(min(sizes[block.name, choice] for choice in block.choices) for block in blocks)
        limits.append(SizeLimit(unit, least + tightness * (whole - least), whole, sizes))
    limits.append(CountLimit(frozenset(block.name for block in blocks), len(blocks) - 1))
    return Space(
        Chain("small", "any", (3, 1, 1), blocks), {block.name: block.choices for block in blocks}, tuple(limits)
    )


def vectors_of(space: Space) -> Array:
    """(plans, cuts) of all that is within the limits."""
    ways = itertools.product(*space.choices.values())
    plans = [space.chain.plan(dict(zip(space.choices, way, strict=True))) for way in ways]
    return np.array([space.vector(plan) for plan in plans if space.admits(plan)])


def value(vector: Array, gains: Array, pairs: Array) -> float:
    return float(gains @ vector + vector @ np.triu(pairs, 1) @ vector)


@pytest.mark.parametrize("seed", range(40))
def test_it_finds_what_counting_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    space = space_of([int(n) for n in random.integers(1, 4, size=6)], random, tightness=float(random.uniform(0.3, 0.9)))
    count = len(space.cuts)
    gains, pairs = random.normal(-0.2, 1, count), random.normal(0, 0.5, (count, count))
    vectors = vectors_of(space)
    found = solve(space, gains, pairs, most_pairs=count * count)
    if not len(vectors):
        assert found is None
        return
    assert found is not None
    assert space.admits(space.plan(found))
    best = max(value(vector, gains, pairs) for vector in vectors)
    assert value(found, gains, pairs) == pytest.approx(best, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_without_pairs_it_finds_what_counting_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    space = space_of([3, 1, 2, 3, 2], random)
    gains = random.normal(0, 1, len(space.cuts))
    vectors = vectors_of(space)
    found = solve(space, gains)
    assert (found is None) == (len(vectors) == 0)
    if found is not None:
        assert gains @ found == pytest.approx(float((vectors @ gains).max()), rel=1e-5, abs=1e-5)


def test_the_largest_pairs_are_those_that_count() -> None:
    random = np.random.default_rng(0)
    space = space_of([2, 2, 2, 2, 2], random, tightness=0.9)
    count = len(space.cuts)
    gains, pairs = random.normal(-0.2, 1, count), np.triu(random.normal(0, 1, (count, count)), 1)
    smallest_of_ten = np.sort(np.abs(pairs[np.nonzero(pairs)]))[-10]
    largest = np.where(np.abs(pairs) >= smallest_of_ten, pairs, 0)
    found = solve(space, gains, pairs, most_pairs=10)
    assert found is not None
    best = max(value(vector, gains, largest) for vector in vectors_of(space))
    assert value(found, gains, largest) == pytest.approx(best, rel=1e-5, abs=1e-5)


def test_what_stands_on_and_below_the_diagonal_is_not_read() -> None:
    random = np.random.default_rng(1)
    space = space_of([2, 2, 2, 2], random, tightness=0.8)
    count = len(space.cuts)
    gains, pairs = random.normal(-0.2, 1, count), random.normal(0, 1, (count, count))
    for most_pairs in (5, count * count):
        whole, upper = (solve(space, gains, entries, most_pairs) for entries in (pairs, np.triu(pairs, 1)))
        assert whole is not None
        assert np.array_equal(whole, upper)


def test_nothing_that_fits_is_told_from_something() -> None:
    space = space_of([2, 2, 2], np.random.default_rng(0))
    least = min(space.limits[0].amount(space.plan(vector)) for vector in vectors_of(space.within([])))
    gains = np.ones(len(space.cuts))
    for bound, fits in ((least + 1e-6, True), (least - 1e-6, False)):
        sizes = space.limits[0]
        assert isinstance(sizes, SizeLimit)
        one = space.within([SizeLimit("parameters", bound, sizes.whole, sizes.sizes)])
        assert (solve(one, gains) is not None) == fits


def test_a_space_without_cuts_has_one_plan() -> None:
    random = np.random.default_rng(0)
    space = space_of([0, 0, 0], random, tightness=1.0)
    found = solve(space, np.zeros(0))
    assert found is not None
    assert found.shape == (0,)


def test_equal_questions_have_equal_answers() -> None:
    random = np.random.default_rng(2)
    space = space_of([2] * 8, random, tightness=0.6)
    count = len(space.cuts)
    drawn = random.normal(0, 1, count), random.normal(0, 0.5, (count, count))
    for gains, pairs in ((np.zeros(count), np.zeros((count, count))), drawn):
        answers = [solve(space, gains, pairs) for _ in range(5)]
        assert all(answer is not None and np.array_equal(answer, answers[0]) for answer in answers)


def saying(word: bytes) -> Callable[..., Any]:
    """The solver as it is on a talkative day."""
    real = solver.milp

    def milp(*arguments: Any, **named: Any) -> Any:
        os.write(1, word)
        return real(*arguments, **named)

    return milp


def test_stdout_stays_free(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    space = space_of([2, 2, 2], np.random.default_rng(0), tightness=0.9)
    monkeypatch.setattr(solver, "milp", saying(b"HiGHS says"))
    print("before,", end=" ")
    assert solve(space, np.ones(len(space.cuts))) is not None
    print("after")
    assert capfd.readouterr() == ("before, after\n", "HiGHS says")


def test_two_threads_that_solve_at_once_leave_stdout_where_it_was(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that begins first ends first, if they are let in together at all."""
    space = space_of([2, 2, 2], np.random.default_rng(0), tightness=0.9)
    gains = np.ones(len(space.cuts))
    real = solver.milp
    first_is_in, second_is_in, first_is_done = threading.Event(), threading.Event(), threading.Event()

    def milp(*arguments: Any, **named: Any) -> Any:
        if threading.current_thread().name == "first":
            first_is_in.set()
            second_is_in.wait(0.3)
        else:
            second_is_in.set()
            first_is_done.wait(0.3)
        return real(*arguments, **named)

    monkeypatch.setattr(solver, "milp", milp)
    first, second = (threading.Thread(target=solve, args=(space, gains), name=name) for name in ("first", "second"))
    first.start()
    first_is_in.wait(5)
    second.start()
    first.join()
    first_is_done.set()
    second.join()
    os.write(1, b"data")
    assert capfd.readouterr().out == "data"
