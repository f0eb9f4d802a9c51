"""How alike two plans are, to a model in which cuts and pairs of cuts have gains of their own.

If all gains were drawn from their priors, the scores of two plans would have a covariance: the sum of the variances of
all gains that both plans have. Two plans share the gain of a cut where they cut a block in the same way, and that of a
pair of cuts where they share both cuts. So everything follows from where the plans agree, block by block.

Two ways of cutting one block also have something in common: where dropping a whole block does little harm, dropping
half of it does still less. So a cut's gain may be in part its own and in part the block's. Both parts grow with how
far the cut goes, which the order of a block's choices tells: they list what keeps most of it first. Plans then agree
in a block to a degree. With c the part in common, e = 1 where both cut the block alike and 0 elsewhere, and a and b
how far either cut goes, that degree is ((1 - c) e + c) a b.
"""

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
    """The prior of the gains, relative to the variance of a single cut's gain.

    Attributes:
        pair: The variance of the gain of a pair of cuts.
        near: Whether a pair's variance falls with the distance between its blocks.
        common: The part of a cut's gain, from 0 to 1, that it has in common with the other cuts of its block. At 0,
            how far a cut goes does not matter.
    """

    pair: float
    near: bool
    common: float = 0.0


class Shared:
    """The covariances of plans with other plans, each (plans, other plans), by weights; what is not asked for is not
    computed."""

    def __init__(self, alike: "Alike", one: Array, other: Array, around: Array | None) -> None:
        self._alike, self._one, self._other, self._around = alike, one, other, around
        self._nears: dict[float, Array] = {}

    @cached_property
    def _always(self) -> Array:
        return self._alike.always_shared(self._one, self._other)

    def covariance(self, weights: Weights) -> Array:
        """(plans, other plans) the covariance of their scores under a prior of these weights."""
        agree, squares = self._alike.agreement(self._one, self._other, weights.common)
        pairs = self._near(weights.common) if weights.near else self._alike.far * (agree * agree - squares) / 2
        covariance: Array = self._always + agree + weights.pair * pairs
        return covariance

    def _near(self, common: float) -> Array:
        if common not in self._nears:
            self._nears[common] = self._alike.near_pairs(self._one, self._other, common, self._around)
        return self._nears[common]


class Alike:
    """How alike the plans of one space are; plans are vectors (plans, cuts)."""

    def __init__(self, space: Space) -> None:
        self._count = len(space.cuts)
        kinds = sorted(set(space.kinds))
        members = [[float(kind == own) for own in space.kinds] for kind in kinds]
        harms = space.expected_harms
        # The expected harm is one more thing that cuts have in common, each in proportion to its own.
        self._members = np.array(members if harms is None else [*members, harms])
        blocks, self._site = np.unique(space.places, return_inverse=True)
        self._amounts = space.reach
        apart = np.abs(blocks[:, None] - blocks[None]).astype(float)
        self._nearness = np.divide(1.0, apart, out=np.zeros_like(apart), where=apart > 0)
        self.far = 3.0 / self._count
        # One block cannot be cut in two ways: there is no gain for that.
        self._elsewhere = (self._site[:, None] != self._site[None]) & np.triu(np.ones((self._count,) * 2, bool), 1)

    @property
    def sites(self) -> int:
        """The number of blocks that can be cut."""
        return len(self._nearness)

    @property
    def has_grades(self) -> bool:
        """Whether some block can be cut in several ways, which may have something in common."""
        return self.sites < self._count

    def shared(self, one: Array, other: Array, around: Array | None = None) -> Shared:
        """The covariances of plans with other plans.

        Args:
            one: (plans, cuts)
            other: (other plans, cuts)
            around: (centres, cuts) plans such that each of `other` differs from one of them in at most two blocks.
                With these, pairs of near blocks are counted from what changes, which is faster.
        """
        return Shared(self, one, other, around)

    def always_shared(self, one: Array, other: Array) -> Array:
        """(plans, other plans) the part of the covariance that no weights change: that of the offset and of the
        kinds of cuts."""
        found: Array = _OFFSET_VARIANCE + _KIND_VARIANCE * (one @ self._members.T) @ (other @ self._members.T).T
        return found

    def agreement(self, one: Array, other: Array, common: float) -> tuple[Array, Array]:
        """(plans, other plans) each: the sum over the blocks of the degree to which plans agree, and the sum of its
        square."""
        own, equal = 1 - common, one @ other.T
        if not common:
            return equal, equal
        far, other_far = one * self._amounts, other * self._amounts
        sites, other_sites = self._far_by_site(one), self._far_by_site(other)
        agree = own * (far @ other_far.T) + common * (sites @ other_sites.T)
        squares = (1 - common**2) * (far**2 @ (other_far**2).T)
        return agree, squares + common**2 * (sites**2 @ (other_sites**2).T)

    def near_pairs(self, one: Array, other: Array, common: float, around: Array | None) -> Array:
        """(plans, other plans) the sum over pairs of blocks of the degree to which plans agree in both, divided by
        their distance."""
        if around is None:
            return self._near_pairs(one, other, common)
        return self._near_pairs_around(one, other, common, around)

    def variances(self, weights: Weights, vectors: Array) -> Array:
        """(plans,) the prior variance of the score of each plan."""
        counts = vectors @ self._members.T
        agree = self._far_by_site(vectors) ** 2 if weights.common else (self._by_site(vectors) > 0).astype(np.float64)
        number = agree.sum(axis=1)
        near = ((agree @ self._nearness) * agree).sum(axis=1) / 2
        pairs = near if weights.near else self.far * (number * number - (agree * agree).sum(axis=1)) / 2
        variances: Array = (
            _OFFSET_VARIANCE + _KIND_VARIANCE * (counts * counts).sum(axis=1) + number + weights.pair * pairs
        )
        return variances

    def gains(self, weights: Weights, vectors: Array, coefficients: Array) -> tuple[float, Array, Array]:
        """The gains that the scores of plans imply.

        Args:
            weights: The prior.
            vectors: (plans, cuts) the plans that have scores.
            coefficients: (plans,) how much each of their scores counts.

        Returns:
            The constant, the gains of cuts (cuts,), and those of pairs of cuts, strictly upper triangular (cuts, cuts).
        """
        cuts = vectors.T @ coefficients
        # (plans, cuts) how far each plan agrees with each cut.
        agree = vectors
        if weights.common:
            agree = (1 - weights.common) * vectors * self._amounts
            agree = (agree + weights.common * self._far_by_site(vectors)[:, self._site]) * self._amounts
        single = agree.T @ coefficients + _KIND_VARIANCE * (self._members @ cuts) @ self._members
        pairs = self._pair_variances(weights) * (agree.T @ (agree * coefficients[:, None]))
        return _OFFSET_VARIANCE * float(coefficients.sum()), single, pairs

    def drawn(self, weights: Weights, random: np.random.Generator) -> tuple[float, Array, Array]:
        """The constant, the gains of cuts and those of pairs, drawn from the prior; shaped as those of `gains`."""
        constant = np.sqrt(_OFFSET_VARIANCE) * random.normal()
        kinds = np.sqrt(_KIND_VARIANCE) * random.normal(size=len(self._members))
        size = self._count + (self.sites if weights.common else 0)
        single = self._of_cuts(random.normal(size=size), weights.common) + kinds @ self._members
        pairs = self._of_cuts(self._of_cuts(random.normal(size=(size, size)), weights.common).T, weights.common).T
        return float(constant), single, np.sqrt(self._pair_variances(weights)) * pairs

    def _of_cuts(self, drawn: Array, common: float) -> Array:
        """(cuts, ...) the values of cuts, from independent numbers (cuts + blocks, ...): the first are the cuts'
        own, the others are their blocks'."""
        if not common:
            return drawn
        own, blocks = drawn[: self._count], drawn[self._count :]
        amounts = self._amounts.reshape(-1, *[1] * (drawn.ndim - 1))
        found: Array = amounts * (np.sqrt(1 - common) * own + np.sqrt(common) * blocks[self._site])
        return found

    def _pair_variances(self, weights: Weights) -> Array:
        """(cuts, cuts) the prior variance of the gain of each pair of cuts."""
        nearness = self._nearness[self._site][:, self._site] if weights.near else self.far
        variances: Array = weights.pair * nearness * self._elsewhere
        return variances

    def _near_pairs(self, one: Array, other: Array, common: float) -> Array:
        firsts, seconds = self._by_site(one), self._by_site(other)
        far, other_far = self._far_by_site(one), self._far_by_site(other)
        found = np.empty((len(one), len(other)))
        at_once = max(1, _HELD_BYTES // (8 * max(1, seconds.size)))
        for start in range(0, len(one), at_once):
            some = firsts[start : start + at_once, None]
            agree = ((some == seconds) & (some > 0)).astype(np.float64)
            if common:
                agree *= 1 - common
                agree += common
                agree *= far[start : start + at_once, None] * other_far
            flat = agree.reshape(-1, self.sites)
            found[start : start + at_once] = ((flat @ self._nearness) * flat).sum(axis=1).reshape(agree.shape[:2]) / 2
        return found

    def _near_pairs_around(self, one: Array, other: Array, common: float, around: Array) -> Array:
        """The same by what changes. With a the degree to which two plans agree in each block and N the nearness, the
        sum is a'Na / 2; where a changes by d in two blocks it becomes a'Na / 2 + d'Na + d'Nd / 2."""
        firsts, seconds, bases = (self._by_site(vectors) for vectors in (one, other, around))
        nearest = np.stack([(seconds != base).sum(axis=1) for base in bases], axis=1).argmin(axis=1)
        nearness = np.pad(self._nearness, (0, 1))  # the last is no block
        firsts, far = (np.pad(by_site, ((0, 0), (0, 1))) for by_site in (firsts, self._far_by_site(one)))
        amounts = np.append(0.0, self._amounts)

        def agreement(codes: Array, ours: Array, far: Array) -> Array:
            """How far blocks cut as `codes` say, whole numbers, agree with ours."""
            equal: Array = ((ours == codes) & (codes > 0)).astype(np.float64)
            if not common:
                return equal
            degree: Array = ((1 - common) * equal + common) * far * amounts[codes.astype(int)]
            return degree

        found = np.empty((len(one), len(other)))
        for number, base in enumerate(bases):
            own = np.flatnonzero(nearest == number)
            sites, codes = _changes(base, seconds[own])
            agree = agreement(np.append(base, 0), firsts, far)
            beside = agree @ nearness
            change = [
                agreement(to, firsts[:, at], far[:, at]) - agree[:, at] for at, to in zip(sites, codes, strict=True)
            ]
            near = (agree * beside).sum(axis=1)[:, None] / 2 + change[0] * change[1] * nearness[sites[0], sites[1]]
            found[:, own] = near + change[0] * beside[:, sites[0]] + change[1] * beside[:, sites[1]]
        return found

    def _by_site(self, vectors: Array) -> Array:
        """(plans, sites) the number of the cut that each block has, from 1; 0 where it has none."""
        codes = np.zeros((len(vectors), self.sites))
        for cut, site in enumerate(self._site):
            codes[:, site] += (cut + 1) * vectors[:, cut]
        return codes

    def _far_by_site(self, vectors: Array) -> Array:
        """(plans, sites) how far the cut of each block goes; 0 where it has none."""
        far = np.zeros((len(vectors), self.sites))
        for cut, site in enumerate(self._site):
            far[:, site] += self._amounts[cut] * vectors[:, cut]
        return far


def _changes(base: Array, codes: Array) -> tuple[Array, Array]:
    """Where vectors by site (plans, sites) differ from `base`, and what they have there, each (2, plans). Where a
    plan has no second difference, or no first, they are the number of sites, and 0."""
    plans, places = np.nonzero(codes != base)
    order = np.arange(len(plans)) - np.searchsorted(plans, plans)  # the first or the second of its plan
    assert not len(order) or order.max() <= 1, "plans lie around those that they differ from in two blocks at the most"
    sites, there = np.full((2, len(codes)), len(base)), np.zeros((2, len(codes)))
    sites[order, plans], there[order, plans] = places, codes[plans, places]
    return sites, there
