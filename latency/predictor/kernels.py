"""Predicts what kernels take inside a network, from predictors of operators that were timed one at a time."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from latency.predictor.described import BYTES, peak_described
from latency.predictor.kinds import KINDS
from latency.predictor.listen import Operator
from latency.predictor.published import Bounds, PublishedCosts, published_predictor
from latency.predictor.scaled import ScaledRegressor
from latency.predictor.tiles import FLOAT_BYTES, Array
from latency.predictor.whole import SOFTMAX, TERMS, Card, class_of
from latency.roofline import BEYOND_BELIEF
from profiles.descriptions import load_description
from profiles.judgement import Judgement

GAP_MS: Final = 0.004
"""The milliseconds between one kernel and the next on the device; their bounds are half and twice as much."""
_GAP_BOUNDS: Final = np.array([0.5, 1.0, 2.0]) * GAP_MS
_LIGHTER: Final = (3.0, 6.0)
_LAID_OUT: Final = ("pointwise", "dense", "grouped")


class KernelCosts:
    """Predicts what the kernels of pieces take on a described device.

    A kernel takes what its operator is predicted to take, less what the host took to issue the operator alone in the
    published timings (the overhead of its kind). To each kernel a gap is added. No matrix product is taken to run
    faster inside a network than large products do. Corrections from whole networks are applied.
    """

    def __init__(self, device: str, dtype: str, card: Card) -> None:
        """Loads the predictor that comes with the package.

        Args:
            device: The name of a described device.
            dtype: The dtype of the operators.
            card: What whole networks taught about the device.

        Raises:
            PredictorError: when the device has no rate for the dtype.
        """
        self._costs = PublishedCosts(device, dtype)
        described = load_description(device)
        self._peak = peak_described(described, dtype)
        self._cache_bytes = described.l2_mb * 1e6 * FLOAT_BYTES / BYTES[dtype]  # work is counted in fp32's bytes
        self._overheads = overheads_ms(device, dtype)
        self._factors = card.factors_in(dtype)
        self._sustained = card.sustained_tflops * 1e9 if card.sustained_tflops and dtype == "fp32" else math.inf

    def bounds(self, pieces: Sequence[Sequence[Operator]]) -> list[Bounds]:
        """Returns (lower bound, prediction, upper bound) of each piece in milliseconds.

        The operators of a piece are taken to err together, so their bounds add up.
        """
        distinct = list({operator: None for piece in pieces for operator in piece})
        kernels = self.kernels(distinct)
        if self._factors:
            of = dict(self._factors) | {SOFTMAX: 0.0}
            kernels = kernels * [[of[class_of(one)]] for one in distinct]
            kernels += of["layout"] * self.layout(distinct)[:, None]
        place = {operator: number for number, operator in enumerate(distinct)}
        sums = []
        for piece in pieces:
            low, said, high = (kernels[[place[one] for one in piece]].sum(axis=0) + len(piece) * _GAP_BOUNDS).tolist()
            sums.append((low, said, high))
        return sums

    @property
    def operators_judged(self) -> tuple[Judgement, ...]:
        """How the predictor of each kind of operator was judged on single operators."""
        found = []
        for kind, regressor in self._costs.predictor.regressors.items():
            judged, basis = regressor.judged_, regressor.basis_
            on = f"{basis.timings} ({basis.how}; {basis.judged_by})"
            found.append(Judgement(f"{kind} alone", on, judged.rows, judged.error, judged.covered))
        return tuple(found)

    def terms(self, networks: Sequence[Sequence[Operator]]) -> Array:
        """Returns what the kernels of each term take in each network, without corrections and gaps.

        Args:
            networks: The operators of each network.

        Returns:
            (networks, TERMS), in milliseconds.
        """
        distinct = list({operator: None for network in networks for operator in network})
        place = {operator: number for number, operator in enumerate(distinct)}
        columns = {term: number for number, term in enumerate(TERMS)}
        found = np.zeros((len(distinct), len(TERMS)))
        for number, (operator, took_ms) in enumerate(zip(distinct, self.kernels(distinct)[:, 1], strict=True)):
            if class_of(operator) in columns:
                found[number, columns[class_of(operator)]] = took_ms
        found[:, columns["layout"]] = self.layout(distinct)
        return np.array([found[[place[one] for one in network]].sum(axis=0) for network in networks])

    def kernels(self, operators: Sequence[Operator]) -> Array:
        """Returns the lower bound, the prediction and the upper bound of each operator's kernel, uncorrected.

        Returns:
            (N, 3), in milliseconds.
        """
        found = np.zeros((len(operators), 3))
        alone = np.array(self._costs.bounds([[operator] for operator in operators])).reshape(-1, 3)
        for kind, (places, dims) in _by_kind(operators).items():
            least = self._convolution_ms(dims) if kind == "conv" else KINDS[kind].roofline_ms(dims, self._peak)
            if kind in ("linear", "bmm"):
                least = np.maximum(least, KINDS[kind].flops(dims) / self._sustained)
            found[places] = np.maximum(alone[places] - self._overheads[kind], least[:, None])
        return found

    def layout(self, operators: Sequence[Operator]) -> Array:
        """Returns the milliseconds (N,) that changing the layout of convolutions' images takes.

        The memory traffic of the convolution stands for it. It is 0 for depthwise convolutions and all other operators,
        which run in the layout that they find.
        """
        found = np.zeros(len(operators))
        for kind, (places, dims) in _by_kind(operators).items():
            if kind == "conv":
                found[places] = KINDS[kind].traffic_bytes(dims) / self._peak.bytes_per_ms
        return found * [class_of(one) in _LAID_OUT for one in operators]

    def _convolution_ms(self, dims: Array) -> Array:
        """(N, 8) -> (N,), the least milliseconds of convolutions. Small kernels without a stride may take fewer
        multiplications than the textbook's (Winograd), and what a cache holds is not moved."""
        kind, (_, _, _, kernel, _, stride, _, _) = KINDS["conv"], dims.T
        is_lighter = (kernel >= _LIGHTER[0]) & (kernel <= _LIGHTER[1]) & (stride == 1)
        computed_ms = kind.flops(dims) / self._peak.flops_per_ms / np.where(is_lighter, BEYOND_BELIEF, 1.0)
        moved_ms = np.maximum(kind.traffic_bytes(dims) - self._cache_bytes, 0.0) / self._peak.bytes_per_ms
        least_ms: Array = np.maximum(np.maximum(computed_ms, moved_ms), kind.certain_ms(dims, self._peak))
        return least_ms


def overheads_ms(device: str, dtype: str) -> dict[str, float]:
    """Returns what the host took to issue an operator alone, in the timings that a shipped predictor was fitted to.

    For convolutions this is 0: their predictors predict the kernel alone.

    Args:
        device: The name of a described device.
        dtype: The dtype of the operators.

    Returns:
        Kind of operator -> milliseconds.
    """
    found = {}
    for kind, regressor in published_predictor(device, dtype).regressors.items():
        fitted = regressor.fitted if isinstance(regressor, ScaledRegressor) else regressor
        found[kind] = 0.0 if kind == "conv" else fitted.expected_.overhead_ms
    return found


def _by_kind(operators: Sequence[Operator]) -> dict[str, tuple[list[int], Array]]:
    """Kind of operator -> the indices of its operators, and their dimensions (N, D)."""
    places: dict[str, list[int]] = {}
    for number, operator in enumerate(operators):
        places.setdefault(operator.kind, []).append(number)
    return {
        kind: (numbers, np.array([operators[number].dims for number in numbers], dtype=float))
        for kind, numbers in places.items()
    }
