"""Predicts convolutions on devices without published kernel times, from devices that have them.

What kernel size, stride, groups, small images, tiles and waves cost over the roofline is learned from devices on which
kernels alone were timed, each relative to its own peak rates. The timings of another device are of one kind of
convolution, and include its framework and launching. They are taken for an overhead plus a multiple of what was
learned. The multiple belongs to the device and holds for all kinds of convolution. The overhead belongs to the timings
and goes into no prediction.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np

from latency.errors import PredictorError
from latency.predictor.boosted import Boosted, Growth
from latency.predictor.expected import Basis, Expected
from latency.predictor.kinds import KINDS
from latency.predictor.reach import Reach
from latency.predictor.regressor import RatioRegressor
from latency.predictor.tiles import Array, Classes
from latency.predictor.transfer import Timed
from latency.roofline import Peak

_GROWTH: Final = Growth(rounds=250, leaves=47, fewest=8, rate=0.1)
_MOST_ROWS: Final = 5_000  # of each device that teaches
_FEWEST: Final = 3
_CONV: Final = KINDS["conv"]


class KernelTimes:
    """What the kernels of convolutions take on any device, relative to its peak rates."""

    def __init__(
        self,
        teachers: Sequence[Timed],
        others: Sequence[Timed],
        *,
        growth: Growth = _GROWTH,
        seed: int = 0,
        fp32: "KernelTimes | None" = None,
    ) -> None:
        """Grows trees on the kernel times of the teachers.

        Args:
            teachers: At least three devices with kernel times of all kinds of convolution, in one dtype.
            others: Devices with timings in fp32 of some kinds of convolution, which include an overhead.
            growth: How the trees are grown.
            seed: Seed of the rows drawn and the trees.
            fp32: The kernel times in fp32, where the teachers are timed in another dtype.

        Raises:
            PredictorError: when there are fewer than three teachers, or no others.
        """
        if len(teachers) < _FEWEST or not others:
            raise PredictorError(f"convolutions are taught by {_FEWEST} devices' kernel times and another's timings")
        self._teachers = teachers
        self._others = others
        self._growth = growth
        self._seed = seed
        self._trees = self._taught(teachers)
        self._fp32 = self if fp32 is None else fp32

    def seen(self, timed: Timed) -> Expected:
        """Fits the overhead of a device's timings, and how many times as long as the trees say its kernels take."""
        return Expected.fitted(self._kernels_ms(self._fp32._trees, timed.peak, timed.dims), timed.took_ms, 0.0)

    @cached_property
    def usual(self) -> float:
        """How many times as long as the trees say the kernels of the others take, as a geometric mean."""
        return float(np.exp(np.mean([np.log(self.seen(other).times) for other in self._others])))

    def regressor(self, peak: Peak, times: float, own: Timed | None, basis: Basis) -> RatioRegressor:
        """Returns a regression that predicts the kernels of convolutions on a device.

        Args:
            peak: The device's peak rates.
            times: How many times as long as the trees say its kernels take.
            own: The device's own timings, if any; what lies in the range of their classes is in range.
            basis: What the regression says it rests on.
        """
        found = RatioRegressor("conv", peak, self._growth, self._seed)
        dims = np.zeros((0, len(_CONV.dims))) if own is None else own.dims
        reach = Reach.fitted(_CONV.reach(dims), _CONV.classes(dims))
        errors, shapes, classes = self._errors
        return found.made_of(Expected(0.0, times), self._trees, reach, errors, shapes, classes, basis)

    @cached_property
    def _errors(self) -> tuple[Array, Array, Classes]:
        """The errors log(measured / predicted) (N,) that the interval comes from, with their shapes and classes.

        For classes that the others were timed on, these are the others' errors. For all other classes, each teacher is
        predicted by the rest, and an error of the others, drawn at random, is added: one teacher is more like another
        than like the others.
        """
        apart = np.concatenate([self._apart(other) for other in self._others])
        here = self._others if self._fp32 is self else []
        known = np.unique(np.concatenate([[""], *(_CONV.classes(other.dims) for other in here)]))
        strange, dims = [], []
        for number, judged in enumerate(self._teachers):
            rest = [teacher for teacher in self._teachers if teacher is not judged]
            said_ms = self._kernels_ms(self._taught(rest), judged.peak, judged.dims)
            alike = np.isin(_CONV.classes(judged.dims), _CONV.classes(self._others[0].dims))
            times = Expected.fitted(said_ms[alike], judged.took_ms[alike], 0.0).times
            like = np.isin(_CONV.classes(judged.dims), known)
            drawn = np.random.default_rng(self._seed + number).choice(apart, int((~like).sum()))
            strange.append(np.log(judged.took_ms / (times * said_ms))[~like] + drawn)
            dims.append(judged.dims[~like])
        if here:
            strange.append(apart)
            dims += [other.dims[self._large(other)] for other in here]
        every = np.vstack(dims)
        return np.concatenate(strange), _CONV.shapes(every), _CONV.classes(every)

    def _apart(self, other: Timed) -> Array:
        """log(measured / expected) of the larger half of a device's rows; the smaller half measures mostly the
        overhead."""
        large = self._large(other)
        expected_ms = self.seen(other)(self._kernels_ms(self._fp32._trees, other.peak, other.dims[large]))
        errors: Array = np.log(other.took_ms[large] / expected_ms)
        return errors

    @staticmethod
    def _large(timed: Timed) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        floor_ms = _CONV.roofline_ms(timed.dims, timed.peak)
        return floor_ms >= np.median(floor_ms)

    def _taught(self, teachers: Sequence[Timed]) -> Boosted:
        """Grows trees that predict log(measured / roofline)."""
        drawn = [teacher.believable().drawn(_MOST_ROWS, self._seed) for teacher in teachers]
        examples = np.vstack([_CONV.features(teacher.dims, teacher.peak) for teacher in drawn])
        ratios = [np.log(teacher.took_ms / _CONV.roofline_ms(teacher.dims, teacher.peak)) for teacher in drawn]
        return Boosted.grown(examples, np.concatenate(ratios), self._growth, self._seed)

    @staticmethod
    def _kernels_ms(trees: Boosted, peak: Peak, dims: Array) -> Array:
        kernels_ms: Array = _CONV.roofline_ms(dims, peak) * np.exp(trees(_CONV.features(dims, peak)))
        return kernels_ms
