"""Plans that differ in one or two blocks: those around a plan, and climbing from plan to plan by learned gains."""

from functools import cached_property
from typing import Any

import numpy as np

from search.samplers.surrogate import Gains
from search.space import Array, Bits, Space

_LEAST: float = 1e-9
_Numbers = np.ndarray[tuple[Any, ...], np.dtype[np.signedinteger[Any]]]
_Mask = np.ndarray[tuple[Any, ...], np.dtype[np.bool_]]


class Moves:
    """All ways of changing one block of a plan, whichever plan one starts from.

    There is a move to every cut, and for every block a move that keeps it.

    Attributes:
        sites: (moves,) the block that each move changes.
        then: (moves,) the number of the cut that each move makes; for a move that keeps the block, the number of cuts.
        savings: (limits, cuts + 1) how much of each limit each cut saves; the last column, for no cut, is zero.
    """

    def __init__(self, space: Space) -> None:
        self.space, none = space, len(space.cuts)
        blocks, self.own_sites = np.unique(space.places, return_inverse=True)
        self.count = len(blocks)
        self.sites: _Numbers = np.concatenate([self.own_sites, np.arange(self.count)])
        self.then: _Numbers = np.concatenate([np.arange(none), np.full(self.count, none)])
        self.savings = np.hstack([space.savings, np.zeros((len(space.limits), 1))])


class Neighbourhood:
    """The moves from one vector of a space, and which of them, alone and in pairs, stay within the limits.

    Attributes:
        now: (moves,) the number of the cut that each move takes away; the number of cuts where the block is kept.
    """

    def __init__(self, moves: Moves, vector: Array) -> None:
        self.vector, self.sites, self.then = vector, moves.sites, moves.then
        cut = np.full(moves.count, len(vector))
        cut[moves.own_sites[vector > 0.5]] = np.flatnonzero(vector > 0.5)
        self.now: _Numbers = cut[self.sites]
        plan = moves.space.plan(vector)
        self._spare = np.array([limit.bound - limit.amount(plan) for limit in moves.space.limits])
        self._saved = (moves.savings[:, self.then] - moves.savings[:, self.now]).T

    @cached_property
    def one_fits(self) -> _Mask:
        """(moves,) whether the plan after each move is another one and within the limits."""
        fits: _Mask = (self._spare + self._saved >= -_LEAST).all(axis=1) & (self.then != self.now)
        return fits

    @cached_property
    def two_fit(self) -> _Mask:
        """(moves, moves) whether the plan after both moves, of two blocks, is within the limits; each pair counts
        once."""
        moves = self.then != self.now
        fit: _Mask = np.less.outer(self.sites, self.sites) & moves[:, None] & moves
        for spare, saved in zip(self._spare, self._saved.T, strict=True):  # one at a time: there may be a million pairs
            fit &= np.add.outer(saved, saved) >= -_LEAST - spare
        return fit

    def all(self) -> Bits:
        """(plans, cuts) the vectors of all plans one or two moves away that are within the limits, as far as their
        amounts add up."""
        return np.vstack([self.after(np.flatnonzero(self.one_fits)), self.after(*np.nonzero(self.two_fit))])

    def most_promising(self, gains: Gains, most: int) -> Bits:
        """(plans, cuts) the same; where there are more than `most`, those that gain most."""
        if self.one_fits.sum() + self.two_fit.sum() <= most:
            return self.all()
        one, between = self.alone(gains), self.together(gains)
        two = np.where(self.two_fit, between + np.add.outer(one, one), -np.inf)
        both = np.concatenate([np.where(self.one_fits, one, -np.inf), two.ravel()])
        best = np.sort(np.argpartition(-both, most)[:most])
        single, pairs = best[best < len(one)], best[best >= len(one)] - len(one)
        return np.vstack([self.after(single), self.after(*np.unravel_index(pairs, two.shape))])

    def alone(self, gains: Gains) -> Array:
        """(moves,) what each move gains."""
        return self.alone_by(gains.both_ways, self.slope(gains))

    def slope(self, gains: Gains) -> Array:
        """(cuts + 1,) what each cut gains beside the cuts of the vector."""
        slope: Array = np.append(gains.single, 0.0) + gains.both_ways[:, :-1] @ self.vector
        return slope

    def alone_by(self, both: Array, slope: Array) -> Array:
        """(moves,) what each move gains, by `Gains.both_ways` and by the slope."""
        alone: Array = slope[self.then] - slope[self.now] - both[self.then, self.now]
        return alone

    def together(self, gains: Gains) -> Array:
        """(moves, moves) what two moves gain together beyond what each gains alone."""
        both = gains.both_ways
        change = both[self.then] - both[self.now]
        together: Array = change[:, self.then] - change[:, self.now]
        return together

    def after(self, *moves: _Numbers) -> Bits:
        """(plans, cuts) the vector after moves: each array (plans,) gives one move for every plan."""
        count = len(moves[0])
        vectors = np.repeat(np.append(self.vector, 0)[None].astype(np.int8), count, axis=0)
        for some in moves:
            vectors[np.arange(count), self.now[some]] = 0
            vectors[np.arange(count), self.then[some]] = 1
        return vectors[:, :-1]


def climbed(space: Space, vector: Array, gains: Gains) -> Array:
    """The vector at which climbing ends: it changes one block at a time, always for the best, and two where no
    single change gains."""
    moves_of = Moves(space)
    around = Neighbourhood(moves_of, vector)
    both, together, slope = gains.both_ways, around.together(gains), around.slope(gains)
    least = _LEAST * (1 + abs(gains.constant))
    while True:
        alone = around.alone_by(both, slope)
        gain, moves = _best(np.where(around.one_fits, alone, -np.inf))
        if gain <= least:
            gain, moves = _best(np.where(around.two_fit, together + np.add.outer(alone, alone), -np.inf))
        if gain <= least:
            return around.vector
        further = Neighbourhood(moves_of, around.after(*moves)[0].astype(np.float64))
        for move in moves:
            slope = slope + both[:, around.then[move[0]]] - both[:, around.now[move[0]]]
        for site in around.sites[np.concatenate(moves)]:
            # What stands together with the moves of a block changes as that block does, and nothing else.
            own = around.sites == site
            change = both[around.now[own][0]] - both[further.now[own][0]]
            together[own] += change[around.then] - change[around.now]
            together[:, own] = together[own].T
            around.now = np.where(own, further.now, around.now)
        around = further


def _best(gained: Array) -> tuple[float, tuple[_Numbers, ...]]:
    """The largest gain of a move or a pair of moves, and the moves that it is of."""
    place = np.unravel_index(int(gained.argmax()), gained.shape)
    return float(gained[place]), tuple(np.array([number]) for number in place)
