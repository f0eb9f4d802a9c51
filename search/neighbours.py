"""Plans that differ in one or two blocks: climbing from plan to plan by learned gains, and what lies around a plan."""

from functools import cached_property
from typing import Any

import numpy as np

from search.space import Array, Bits, Space
from search.surrogate import Gains

_LEAST: float = 1e-9
_Numbers = np.ndarray[tuple[Any, ...], np.dtype[np.signedinteger[Any]]]
_Mask = np.ndarray[tuple[Any, ...], np.dtype[np.bool_]]


class Neighbourhood:
    """All moves from one vector of a space (one block becomes something else), and which of them, and pairs of them,
    stay within the limits.

    There is a move for every cut, and one for every block that leaves it as it is: `then`, (moves,), is the number of
    the cut that a move gives, `now` of that which it takes away; the number of cuts stands for none. `sites` are the
    blocks that moves change.
    """

    def __init__(self, space: Space, vector: Array) -> None:
        self.vector = vector
        none = len(vector)
        blocks, sites = np.unique(space.places, return_inverse=True)
        self.sites: _Numbers = np.concatenate([sites, np.arange(len(blocks))])
        self.then: _Numbers = np.concatenate([np.arange(none), np.full(len(blocks), none)])
        cut = np.full(len(blocks), none)
        cut[sites[vector > 0.5]] = np.flatnonzero(vector > 0.5)
        self.now: _Numbers = cut[self.sites]
        plan = space.plan(vector)
        self._spare = np.array([limit.bound - limit.amount(plan) for limit in space.limits])
        savings = np.hstack([space.savings, np.zeros((len(space.limits), 1))])
        self._saved = (savings[:, self.then] - savings[:, self.now]).T

    @cached_property
    def one_fits(self) -> _Mask:
        """(moves,)"""
        fits: _Mask = (self._spare + self._saved >= -_LEAST).all(axis=1) & (self.then != self.now)
        return fits

    @cached_property
    def two_fit(self) -> _Mask:
        """(moves, moves) of two blocks, each pair once."""
        moves = self.then != self.now
        fit: _Mask = np.less.outer(self.sites, self.sites) & moves[:, None] & moves
        for spare, saved in zip(self._spare, self._saved.T, strict=True):  # one at a time: there may be a million pairs
            fit &= np.add.outer(saved, saved) >= -_LEAST - spare
        return fit

    def all(self) -> Bits:
        """(plans, cuts) every vector that is within the limits, as far as those add up."""
        return np.vstack([self.after(np.flatnonzero(self.one_fits)), self.after(*np.nonzero(self.two_fit))])

    def most_promising(self, gains: Gains, most: int) -> Bits:
        """(plans, cuts) all of them, or where there are more than `most` those that gain most."""
        if self.one_fits.sum() + self.two_fit.sum() <= most:
            return self.all()
        one, between = self.alone(gains), self.together(gains)
        two = np.where(self.two_fit, between + np.add.outer(one, one), -np.inf)
        both = np.concatenate([np.where(self.one_fits, one, -np.inf), two.ravel()])
        best = np.sort(np.argpartition(-both, most)[:most])
        single, pairs = best[best < len(one)], best[best >= len(one)] - len(one)
        return np.vstack([self.after(single), self.after(*np.unravel_index(pairs, two.shape))])

    def alone(self, gains: Gains) -> Array:
        """(moves,) what each gains."""
        both = gains.both_ways
        slope = np.append(gains.single, 0.0) + both[:, :-1] @ self.vector
        alone: Array = slope[self.then] - slope[self.now] - both[self.then, self.now]
        return alone

    def together(self, gains: Gains) -> Array:
        """(moves, moves) what two gain beside what each of them does."""
        both = gains.both_ways
        change = both[self.then] - both[self.now]
        together: Array = change[:, self.then] - change[:, self.now]
        return together

    def after(self, *moves: _Numbers) -> Bits:
        """(plans, cuts) the vector after these moves, one from each of the arrays (plans,)."""
        count = len(moves[0])
        vectors = np.repeat(np.append(self.vector, 0)[None].astype(np.int8), count, axis=0)
        for some in moves:
            vectors[np.arange(count), self.now[some]] = 0
            vectors[np.arange(count), self.then[some]] = 1
        return vectors[:, :-1]


def climbed(space: Space, vector: Array, gains: Gains) -> Array:
    """The vector that changing one block at a time, always for the best, ends at, and where no one block is better two
    at a time."""
    around = Neighbourhood(space, vector)
    both, together = gains.both_ways, around.together(gains)
    least = _LEAST * (1 + abs(gains.constant))
    while True:
        alone = around.alone(gains)
        gain, moves = _best(np.where(around.one_fits, alone, -np.inf))
        if gain <= least:
            gain, moves = _best(np.where(around.two_fit, together + np.add.outer(alone, alone), -np.inf))
        if gain <= least:
            return around.vector
        further = Neighbourhood(space, around.after(*moves)[0].astype(np.float64))
        for site in around.sites[np.concatenate(moves)]:
            # What stands together with the moves of a block changes as that block does, and nothing else.
            own = around.sites == site
            change = both[around.now[own][0]] - both[further.now[own][0]]
            together[own] += change[around.then] - change[around.now]
            together[:, own] = together[own].T
            around.now = np.where(own, further.now, around.now)
        around = further


def _best(gained: Array) -> tuple[float, tuple[_Numbers, ...]]:
    """The largest of what moves, or pairs of them, gain; and which these are."""
    place = np.unravel_index(int(gained.argmax()), gained.shape)
    return float(gained[place]), tuple(np.array([number]) for number in place)
