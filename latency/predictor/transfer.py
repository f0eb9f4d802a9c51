"""Predicts operators on a device with few timings or none, from timings of other devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final

import numpy as np
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import BayesianRidge

from latency.predictor.boosted import Boosted, Growth
from latency.predictor.expected import Basis, Expected
from latency.predictor.kinds import KINDS
from latency.predictor.process import process
from latency.predictor.reach import Reach
from latency.predictor.regressor import RatioRegressor
from latency.predictor.tiles import Array
from latency.roofline import Peak

_MOST_ROWS: Final = 1_500  # of each device: more teach little about another
_MOST_SHAPES: Final = 3_000
_TOGETHER: Final = Growth(rounds=250, leaves=31, fewest=3, rate=0.08)
_EACH: Final = Growth(rounds=100, leaves=31, fewest=2, rate=0.12)
TRANSFERRED: Final = "transferred from other devices"
"""How a regression came about that was made from timings of other devices."""
_JUDGES: Final = 3
_JUDGED_ROWS: Final = 500
FEWEST_OWN: Final = 5
"""The fewest timings of its own that a device's predictor learns from."""


@dataclass(frozen=True, eq=False)
class Timed:
    """Operators of one kind that were timed on one device.

    Attributes:
        peak: The device's peak rates.
        dims: (N, D), the dimensions of the operators.
        took_ms: (N,), their latencies in milliseconds.
    """

    peak: Peak
    dims: Array
    took_ms: Array

    def believable(self) -> "Timed":
        """Leaves out the convolutions that are quicker than any algorithm could be."""
        true = self.took_ms >= KINDS["conv"].certain_ms(self.dims, self.peak)
        return Timed(self.peak, self.dims[true], self.took_ms[true])

    def drawn(self, count: int, seed: int) -> "Timed":
        """Draws `count` rows at random, or all if there are fewer."""
        chosen = np.random.default_rng(seed).permutation(len(self.dims))[:count]
        return Timed(self.peak, self.dims[chosen], self.took_ms[chosen])


class Transfer:
    """Learns from other devices what operators of one kind take, for devices with few timings or none.

    Trees learn log(measured / expected) over all devices together, each relative to its own peak rates, so that another
    device needs only its description. If the device has timings of its own, a correction is added: a mixture of how
    each other device differs from all together, each by trees of its own, found by Bayesian ridge regression (MacKay,
    1992). A Gaussian process over the dimensions learns the rest (Rasmussen and Williams, 2006).
    """

    def __init__(self, kind: str, sources: Sequence[Timed], seed: int = 0) -> None:
        """Grows the trees of all devices together.

        Args:
            kind: The kind of operator, one of `KINDS`.
            sources: The timings of other devices.
            seed: Seed of the rows drawn and the trees.
        """
        self._kind = KINDS[kind]
        self._seed = seed
        self._sources = sources
        thinned = [source.drawn(_MOST_ROWS, seed) for source in sources]
        examples = [self._kind.features(source.dims, source.peak) for source in thinned]
        self._each = [
            Expected.fitted(self._floor_ms(source.peak, source.dims), source.took_ms, self._kind.least)
            for source in thinned
        ]
        self._usual = Expected(
            float(np.median([expected.overhead_ms for expected in self._each])),
            float(np.median([expected.times for expected in self._each])),
        )
        targets = [
            np.log(source.took_ms / expected(self._floor_ms(source.peak, source.dims)))
            for source, expected in zip(thinned, self._each, strict=True)
        ]
        self._together = Boosted.grown(np.vstack(examples), np.concatenate(targets), _TOGETHER, seed)
        self._examples, self._targets = examples, targets

    @cached_property
    def _apart(self) -> list[Boosted]:
        """The trees of each source alone."""
        pairs = zip(self._examples, self._targets, strict=True)
        return [Boosted.grown(example, target, _EACH, self._seed) for example, target in pairs]

    def predicted_ms(self, peak: Peak, own: Timed | None, dims: Array) -> Array:
        """Predicts operators on a device.

        Args:
            peak: The device's peak rates.
            own: The device's own timings, if there are any.
            dims: (N, D), the dimensions of the operators.

        Returns:
            (N,), milliseconds.
        """
        centre = self._seen_by_all(peak, dims)
        if own is not None:
            own_centre, own_apart = self._seen_by_each(peak, own.dims)
            errors = np.log(own.took_ms) - own_centre
            mixture = BayesianRidge().fit(own_apart, errors)
            rest = process(
                ConstantKernel(0.05, (1e-3, 1.0)) * Matern(np.full(dims.shape[1] + 1, 4.0), (0.5, 100.0), nu=1.5)
                + ConstantKernel(0.1, (1e-3, 1.0))
                + WhiteKernel(0.01, (1e-4, 0.3)),
                self._place(own.dims),
                errors - mixture.predict(own_apart),
                self._seed,
            )
            apart = self._seen_by_each(peak, dims)[1]
            centre = centre + mixture.predict(apart) + rest.predict(self._place(dims))
        said_ms: Array = np.exp(centre)
        return said_ms

    def regressor(self, peak: Peak, own: Timed | None) -> RatioRegressor:
        """Returns the predictions for a device as a regression that can be stored.

        Its trees are those of all devices together. If the device has timings of its own, they are new trees, grown on
        those and on what is predicted for the shapes of the other devices. The interval comes from the errors of
        predicting some of the other devices by the rest in the same way.

        Args:
            peak: The device's peak rates.
            own: The device's own timings, if there are any.

        Raises:
            ValueError: when there is only one other device, so that nothing can judge the predictions.
        """
        shapes = np.unique(np.vstack([source.dims for source in self._sources]), axis=0)
        expected, trees = self._usual, self._together
        if own is not None:
            drawn = np.random.default_rng(self._seed).permutation(shapes)[:_MOST_SHAPES]
            dims = np.vstack([drawn, own.dims])
            said_ms = np.concatenate([self.predicted_ms(peak, own, drawn), own.took_ms])
            targets = np.log(said_ms / expected(self._floor_ms(peak, dims)))
            trees = Boosted.grown(self._kind.features(dims, peak), targets, _TOGETHER, self._seed)
        reach = Reach.fitted(self._kind.reach(shapes), self._kind.classes(shapes))
        errors, judged = self._errors(0 if own is None else len(own.dims))
        belongs = self._kind.shapes(judged), self._kind.classes(judged)
        basis = Basis(TRANSFERRED, "other devices, each by the rest", "")
        return RatioRegressor(self._kind.name, peak, _TOGETHER, self._seed).made_of(
            expected, trees, reach, errors, *belongs, basis
        )

    @cache  # noqa: B019
    def _errors(self, count: int) -> tuple[Array, Array]:
        """Errors log(measured / predicted) (N,) of some sources, each predicted by the others and `count` rows of its
        own, with their dimensions (N, D)."""
        found, dims = [], []
        order = np.random.default_rng(self._seed).permutation(len(self._sources))
        for left_out in order[:_JUDGES] if len(order) > 1 else ():
            target = self._sources[left_out].drawn(count + _JUDGED_ROWS, self._seed)
            others = [source for number, source in enumerate(self._sources) if number != left_out]
            own = Timed(target.peak, target.dims[:count], target.took_ms[:count]) if count else None
            said_ms = Transfer(self._kind.name, others, self._seed).predicted_ms(target.peak, own, target.dims[count:])
            found.append(np.log(target.took_ms[count:] / said_ms))
            dims.append(target.dims[count:])
        if not found:
            raise ValueError(f"{self._kind.name} was timed on one other device alone: nothing judges a transfer")
        return np.concatenate(found), np.vstack(dims)

    def _seen_by_all(self, peak: Peak, dims: Array) -> Array:
        """(N, D) -> log ms (N,)"""
        centre: Array = self._together(self._kind.features(dims, peak)) + np.log(
            self._usual(self._floor_ms(peak, dims))
        )
        return centre

    def _seen_by_each(self, peak: Peak, dims: Array) -> tuple[Array, Array]:
        """(N, D) -> log ms (N,) by the trees of all sources, and how far each source's own trees are from it (N, S)."""
        examples, floor_ms = self._kind.features(dims, peak), self._floor_ms(peak, dims)
        centre = self._seen_by_all(peak, dims)
        each = [
            alone(examples) + np.log(expected(floor_ms))
            for alone, expected in zip(self._apart, self._each, strict=True)
        ]
        return centre, np.column_stack(each) - centre[:, None]

    def _floor_ms(self, peak: Peak, dims: Array) -> Array:
        return self._kind.roofline_ms(dims, peak)

    def _place(self, dims: Array) -> Array:
        """(N, D) -> (N, D + 1): where a shape lies, in doublings."""
        return np.column_stack([np.log2(np.maximum(dims, 0.5)), np.log2(self._kind.flops(dims))])
