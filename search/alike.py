"""How alike two plans are, to a model in which cuts and pairs of cuts have gains of their own.

Were all gains drawn from their priors, the scores of two plans would have a covariance: the sum of the variances of all
gains that both plans have. Two plans share the gain of a cut where they cut a block in the same way, and that
of a pair of cuts where they do so twice; so everything follows from where they agree, block by block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from search.space import Array, Space

_OFFSET_VARIANCE: Final = 10.0
_KIND_VARIANCE: Final = 4.0
_HELD_BYTES: Final = 1 << 26


@dataclass(frozen=True)
class Weights:
    """The variance of the pairs' gains, next to a single cut's; if `near`, a pair's falls with the distance between its
    blocks."""

    pair: float
    near: bool


class Shared:
    """What plans share with others, each (plans, other plans): the variances of what is no pair, and of pairs before
    they are weighted, near ones and all alike. What is not asked for is not computed."""

    def __init__(self, single: Array, near: Callable[[], Array], alike: Array) -> None:
        self._single, self._find_near, self._alike = single, near, alike

    @cached_property
    def _near(self) -> Array:
        return self._find_near()

    def covariance(self, weights: Weights) -> Array:
        """(plans, other plans) of the scores."""
        covariance: Array = self._single + weights.pair * (self._near if weights.near else self._alike)
        return covariance


class Alike:
    """Of the plans of one space, as vectors (plans, cuts)."""

    def __init__(self, space: Space) -> None:
        self._count = len(space.cuts)
        kinds = sorted(set(space.kinds))
        members = [[float(kind == own) for own in space.kinds] for kind in kinds]
        harms = space.expected_harms
        # What is expected of cuts is one more thing that they have in common, each as much of it as there is.
        self._members = np.array(members if harms is None else [*members, harms])
        blocks, self._site = np.unique(space.places, return_inverse=True)
        apart = np.abs(blocks[:, None] - blocks[None]).astype(float)
        self._nearness = np.divide(1.0, apart, out=np.zeros_like(apart), where=apart > 0)
        self._far = 3.0 / self._count
        # One block cannot be cut in two ways: there is no gain for that.
        self._elsewhere = (self._site[:, None] != self._site[None]) & np.triu(np.ones((self._count,) * 2, bool), 1)

    @property
    def sites(self) -> int:
        """The blocks that can be cut."""
        return len(self._nearness)

    def shared(self, one: Array, other: Array, around: Array | None = None) -> "Shared":
        """What plans and other plans share. Where each of the others differs in at most two blocks from one of those
        that they lie `around`, near pairs are counted from what changes."""
        kinds = (one @ self._members.T) @ (other @ self._members.T).T
        agree = one @ other.T
        apart = self._far * (agree * agree - agree) / 2
        single = _OFFSET_VARIANCE + _KIND_VARIANCE * kinds + agree
        if around is None:
            return Shared(single, lambda: self._near_pairs(one, other), apart)
        return Shared(single, lambda: self._near_pairs_around(one, other, around), apart)

    def variances(self, weights: Weights, vectors: Array) -> Array:
        """(plans,) the same of each plan with itself."""
        counts = vectors @ self._members.T
        cut = self._by_site(vectors) > 0
        number = cut.sum(axis=1)
        near = ((cut @ self._nearness) * cut).sum(axis=1) / 2
        pairs = near if weights.near else self._far * (number * number - number) / 2
        variances: Array = (
            _OFFSET_VARIANCE + _KIND_VARIANCE * (counts * counts).sum(axis=1) + number + weights.pair * pairs
        )
        return variances

    def gains(self, weights: Weights, vectors: Array, coefficients: Array) -> tuple[float, Array, Array]:
        """(constant, (cuts,), strictly upper triangular (cuts, cuts)): what the plans' scores say of the gains, if the
        scores count for so much (plans,)."""
        cuts = vectors.T @ coefficients
        single = cuts + _KIND_VARIANCE * (self._members @ cuts) @ self._members
        pairs = self._pair_variances(weights) * (vectors.T @ (vectors * coefficients[:, None]))
        return _OFFSET_VARIANCE * float(coefficients.sum()), single, pairs

    def drawn(self, weights: Weights, random: np.random.Generator) -> tuple[float, Array, Array]:
        """The same drawn from the prior."""
        constant = np.sqrt(_OFFSET_VARIANCE) * random.normal()
        kinds = np.sqrt(_KIND_VARIANCE) * random.normal(size=len(self._members))
        single = random.normal(size=self._count) + kinds @ self._members
        pairs = np.sqrt(self._pair_variances(weights)) * random.normal(size=(self._count, self._count))
        return float(constant), single, pairs

    def _pair_variances(self, weights: Weights) -> Array:
        """(cuts, cuts)"""
        nearness = self._nearness[self._site][:, self._site] if weights.near else self._far
        variances: Array = weights.pair * nearness * self._elsewhere
        return variances

    def _near_pairs(self, one: Array, other: Array) -> Array:
        """(plans, other plans) the sum over the pairs of blocks that both cut alike of one over their distance."""
        firsts, seconds = self._by_site(one), self._by_site(other)
        found = np.empty((len(one), len(other)))
        at_once = max(1, _HELD_BYTES // (8 * max(1, seconds.size)))
        for start in range(0, len(one), at_once):
            some = firsts[start : start + at_once, None]
            agree = ((some == seconds) & (some > 0)).astype(np.float64)
            flat = agree.reshape(-1, self.sites)
            found[start : start + at_once] = ((flat @ self._nearness) * flat).sum(axis=1).reshape(agree.shape[:2]) / 2
        return found

    def _near_pairs_around(self, one: Array, other: Array, around: Array) -> Array:
        """The same. With a the blocks that two plans cut alike and N the nearness, the sum is a'Na / 2; where a changes
        by d in two blocks it becomes a'Na / 2 + d'Na + d'Nd / 2."""
        firsts, seconds, bases = (self._by_site(vectors) for vectors in (one, other, around))
        nearest = np.stack([(seconds != base).sum(axis=1) for base in bases], axis=1).argmin(axis=1)
        nearness, firsts = np.pad(self._nearness, (0, 1)), np.pad(firsts, ((0, 0), (0, 1)))  # the last is no block
        found = np.empty((len(one), len(other)))
        for number, base in enumerate(bases):
            own = np.flatnonzero(nearest == number)
            sites, codes = _changes(base, seconds[own])
            padded = np.append(base, 0)
            agree = ((firsts == padded) & (padded > 0)).astype(np.float64)
            beside = agree @ nearness
            change = [((firsts[:, at] == to) & (to > 0)) - agree[:, at] for at, to in zip(sites, codes, strict=True)]
            near = (agree * beside).sum(axis=1)[:, None] / 2 + change[0] * change[1] * nearness[sites[0], sites[1]]
            found[:, own] = near + change[0] * beside[:, sites[0]] + change[1] * beside[:, sites[1]]
        return found

    def _by_site(self, vectors: Array) -> Array:
        """(plans, sites) the number of the cut that each block has, from 1; 0 where it has none."""
        codes = np.zeros((len(vectors), self.sites))
        for cut, site in enumerate(self._site):
            codes[:, site] += (cut + 1) * vectors[:, cut]
        return codes


def _changes(base: Array, codes: Array) -> tuple[Array, Array]:
    """Where vectors by site, (plans, sites), differ from `base`, and what they have there, each (2, plans): one more
    than the last site, and 0, where there is no second or no first."""
    plans, places = np.nonzero(codes != base)
    order = np.arange(len(plans)) - np.searchsorted(plans, plans)  # the first or the second of its plan
    assert not len(order) or order.max() <= 1, "plans lie around those that they differ from in two blocks at the most"
    sites, there = np.full((2, len(codes)), len(base)), np.zeros((2, len(codes)))
    sites[order, plans], there[order, plans] = places, codes[plans, places]
    return sites, there
