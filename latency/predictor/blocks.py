"""Predicts what pieces of networks take in context from the operators that they consist of."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.utils.validation import check_is_fitted

from latency.fit import additive_costs
from latency.predictor.conformal import COVERAGE
from latency.predictor.kinds import KINDS
from latency.predictor.listen import Operator
from latency.predictor.process import process
from latency.predictor.tiles import Array

CLASSES: Final = ("linear", "bmm", "pointwise", "dense", "depthwise", "softmax", "ln", "costly", "cheap")
"""The classes of operators. A runtime has separate code for each, so each reaches its own share of the peak rates."""
_MATRIX: Final = 5  # the first of them: what is bound by multiplications
_SHAPES: Final = 3  # width, length and batch, behind the terms that cost
_FEW: Final = 4
# Twice the batch changes what an image costs less than a shape of twice the size does.
_BATCH_STEP: Final = 0.3
_TINY: Final = 1e-9


@dataclass(frozen=True)
class TimedPiece:
    """A piece of a network that was measured.

    Pieces of one network, or of one group, are alike and would judge each other's predictions too kindly. A judgement
    leaves a network or a group out as a whole.

    Attributes:
        operators: The operators that the piece runs.
        batch_size: Images per run.
        in_context_ms: What the piece takes inside its network, in milliseconds.
        network: The network that the piece is of.
        group: The network with its arguments and batch size.
    """

    operators: tuple[Operator, ...]
    batch_size: int
    in_context_ms: float
    network: str
    group: str


def class_of(operator: Operator) -> str:
    """Returns which of `CLASSES` an operator belongs to."""
    if operator.kind == "conv":
        _, c_in, _, kernel, _, _, _, groups = operator.dims
        return "depthwise" if groups == c_in > 1 else "pointwise" if kernel == 1 else "dense"
    if operator.kind == "elementwise":
        return "costly" if operator.dims[3] else "cheap"
    return operator.kind


def terms(operators: Sequence[Operator], batch_size: int) -> Array:
    """Returns the features of a piece that `PieceRegressor` learns from.

    Args:
        operators: The operators that the piece runs.
        batch_size: Images per run.

    Returns:
        (3 * classes + 3,): the number of operators of each class, the GFLOP of each, and the MB of each; then the
        binary logarithms of the width of its matrix products (inner dimension), of their length for one image (outer
        dimension), both weighted by work, and of the batch size.
    """
    found = np.zeros((3, len(CLASSES)))
    widths, lengths, weights = [0.0], [0.0], [_TINY]
    for operator in operators:
        at = CLASSES.index(class_of(operator))
        dims = np.array([operator.dims], dtype=float)
        kind = KINDS[operator.kind]
        gflop, mbytes = float(kind.flops(dims)[0]) / 1e9, float(kind.traffic_bytes(dims)[0]) / 1e6
        found[:, at] += (1.0, gflop, mbytes)
        if at < _MATRIX:
            width, length = _width_and_length(operator)
            widths.append(np.log2(width))
            lengths.append(np.log2(length))
            weights.append(gflop)
    images = np.log2(batch_size)
    shape = (np.average(widths, weights=weights), np.average(lengths, weights=weights) - images, images)
    return np.concatenate([found.ravel(), shape])


def _width_and_length(operator: Operator) -> tuple[float, float]:
    if operator.kind == "conv":
        b, c_in, c_out, kernel, size, stride, _, groups = operator.dims
        return float(np.sqrt(c_in / groups * c_out)) * kernel, b * (size / stride) ** 2
    b, m, n, k = operator.dims
    return float(np.sqrt(n * k)), b * m


class PieceRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts what pieces take on one device in one mode: the sum of their operators' costs, times a factor that a
    Gaussian process learns.

    An estimator with scikit-learn's conventions: X (N, T) holds `terms`, y (N,) milliseconds. The sum has a cost per
    operator, per operation and per byte of each class. These are not negative and are drawn to those of all classes
    together, so that a class that few pieces have does not run wild. The process (Rasmussen and Williams, 2006) sees
    the shapes and how the cost divides among the classes. Where nothing alike was measured, its factor tends to 1 and
    its uncertainty grows.
    """

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, X: Array, y: Array) -> "PieceRegressor":  # noqa: N803
        """Fits the costs and the process.

        Args:
            X: (N, T), the features of the pieces, by `terms`.
            y: (N,), what they took, in milliseconds.

        Raises:
            ValueError: when there are fewer than 4 pieces.
        """
        pieces, took_ms = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        if len(pieces) < _FEW:
            raise ValueError(f"{len(pieces)} pieces are too few to fit: it takes {_FEW}")
        self.n_features_in_ = pieces.shape[1]
        self.costs_ = _costs(pieces[:, :-_SHAPES], took_ms)
        self.process_ = process(
            ConstantKernel(0.1, (1e-3, 10.0)) * Matern(3.0, (0.3, 100.0), nu=1.5) + WhiteKernel(1e-3, (1e-5, 0.3)),
            self._features(pieces),
            np.log(took_ms / self._sums(pieces)),
            self.random_state,
        )
        return self

    def predict(self, X: Array) -> Array:  # noqa: N803
        """Returns the predicted milliseconds (N,) of pieces (N, T)."""
        return self.predict_spread(X)[0]

    def predict_spread(self, X: Array) -> tuple[Array, Array]:  # noqa: N803
        """Returns the predicted milliseconds of pieces (N, T), and the standard deviations of their logarithms.

        Both are (N,).
        """
        check_is_fitted(self, "process_")
        pieces = np.asarray(X, dtype=float)
        ratio, spread = self.process_.predict(self._features(pieces), return_std=True)
        return self._sums(pieces) * np.exp(ratio), spread

    def spread_of_sum(self, X: Array) -> float:  # noqa: N803
        """Returns the relative standard deviation of what the pieces (N, T) take together."""
        pieces = np.asarray(X, dtype=float)
        ratio, covariance = self.process_.predict(self._features(pieces), return_cov=True)
        share = self._sums(pieces) * np.exp(ratio)
        share /= share.sum()
        return float(np.sqrt(share @ covariance @ share))

    def _sums(self, pieces: Array) -> Array:
        sums: Array = np.maximum(pieces[:, :-_SHAPES] @ self.costs_, _TINY)
        return sums

    def _features(self, pieces: Array) -> Array:
        """(N, T) -> (N, F): the cost per image, how it divides among the classes, and the shapes."""
        sums = self._sums(pieces)
        parts = (pieces[:, :-_SHAPES] * self.costs_).reshape(len(pieces), 3, len(CLASSES))
        width, length, images = pieces[:, -_SHAPES:].T
        shares = 2 * parts.sum(axis=1) / sums[:, None]
        return np.column_stack([np.log2(sums) - images, shares, width, length, _BATCH_STEP * images])


def _costs(counts: Array, took_ms: Array) -> Array:
    """(N, 3 * classes) and (N,) -> the cost of each term (3 * classes,), drawn to that of all classes together."""
    by_term = counts.reshape(len(counts), 3, len(CLASSES))
    matrix = np.arange(len(CLASSES)) < _MATRIX
    together = np.column_stack(
        [by_term[:, 0].sum(axis=1), by_term[:, 1][:, matrix].sum(axis=1), by_term[:, 2].sum(axis=1)]
    )
    # Before anything is known, each of the three explains all of the time, in the middle.
    first = np.array([np.median(took_ms / np.maximum(column, _TINY)) for column in together.T])
    pooled = np.maximum(additive_costs(together, took_ms, np.maximum(first, _TINY)), 0.02 * first)
    rates = np.where(matrix, pooled[1], 0.02 * pooled[1])
    prior = np.concatenate([np.full(len(CLASSES), pooled[0]), rates, np.full(len(CLASSES), pooled[2])])
    return additive_costs(counts, took_ms, prior)


@dataclass(frozen=True, eq=False)
class PiecePredictor:
    """Predicts what pieces of networks take on one device in one mode, with 90 % intervals.

    The intervals come from pieces of networks, and of settings, that a fit did not see.

    Attributes:
        regressor: The regression over all pieces.
        low: The lower bound of an interval, in standard deviations of the logarithm; negative.
        high: The upper bound, likewise.
        whole: What nine in ten sums of a network's pieces were within, in standard deviations of the sum.
    """

    regressor: PieceRegressor
    low: float
    high: float
    whole: float

    @classmethod
    def fitted(cls, pieces: Sequence[TimedPiece]) -> "PiecePredictor":
        """Fits the regression and judges it by leaving out each network and each group in turn.

        Raises:
            ValueError: when the pieces are of fewer than two groups, or a fit has fewer than 4 pieces.
        """
        examples = np.array([terms(piece.operators, piece.batch_size) for piece in pieces])
        took_ms = np.array([piece.in_context_ms for piece in pieces])
        scores, sums = [], []
        for name in ("network", "group"):
            labels = np.array([getattr(piece, name) for piece in pieces])
            for label in Counter(labels.tolist()) if len(set(labels)) > 1 else ():
                judges = labels == label
                fitted = PieceRegressor().fit(examples[~judges], took_ms[~judges])
                said_ms, spread = fitted.predict_spread(examples[judges])
                scores.append(np.log(took_ms[judges] / said_ms) / spread)
                sums.append(np.log(took_ms[judges].sum() / said_ms.sum()) / fitted.spread_of_sum(examples[judges]))
        if not scores:
            raise ValueError(
                f"it takes tables of two networks, or of one at two sizes, to judge a prediction, and there are "
                f"{len({piece.group for piece in pieces})}"
            )
        tail = (1 - COVERAGE) / 2
        low, high = np.quantile(np.concatenate(scores), [tail, 1 - tail])
        whole = float(np.quantile(np.abs(sums), COVERAGE, method="higher"))
        regressor = PieceRegressor().fit(examples, took_ms)
        return cls(regressor, min(float(low), -_TINY), max(float(high), _TINY), whole)

    def bounds(self, operators: Sequence[Sequence[Operator]], batch_size: int) -> tuple[Array, Array, Array]:
        """Predicts what N pieces take.

        Args:
            operators: The operators of each piece; a piece without any takes no time.
            batch_size: Images per run.

        Returns:
            The lower bounds, the predictions and the upper bounds in milliseconds, (N,) each.
        """
        examples = np.array([terms(each, batch_size) for each in operators])
        said_ms, spread = self.regressor.predict_spread(examples)
        some = np.array([bool(each) for each in operators])
        said_ms = np.where(some, said_ms, 0.0)
        return said_ms * np.exp(self.low * spread), said_ms, said_ms * np.exp(self.high * spread)

    def relative_error(self, operators: Sequence[Sequence[Operator]], batch_size: int) -> float:
        """Returns the relative error that nine in ten networks of these pieces stay within.

        Pieces that are alike are taken to err together, and others independently.
        """
        examples = np.array([terms(each, batch_size) for each in operators if each])
        spread = self.regressor.spread_of_sum(examples)
        return float(np.expm1(self.whole * spread))
