"""Fits the predictors that come with the package, one file for each described device and each dtype that it has a rate
for; called by `benchmarks/predictor.py --ship`.

A kind is fitted to timings of its own where there are any of the device in that dtype; else an fp32 kind is transferred
from other devices, and one of another dtype scaled from fp32, which says so in its record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from latency.errors import PredictorError
from latency.predictor.convolution_transfer import KernelTimes
from latency.predictor.described import BYTES, peak_described
from latency.predictor.expected import Basis, Expected, Judged
from latency.predictor.kinds import KINDS
from latency.predictor.operators import OperatorPredictor, Regressor, timed_on
from latency.predictor.published import PREDICTORS
from latency.predictor.regressor import RatioRegressor
from latency.predictor.rows import OperatorRows
from latency.predictor.scaled import SCALED, ScaledRegressor
from latency.predictor.transfer import TRANSFERRED, Timed, Transfer
from profiles.descriptions import load_description

TIMED = ("mi100", "mi210", "mi250x", "mi300x", "a100", "v100", "t4", "p100", "p4")
TEACHERS = ("mi100", "mi210", "mi250x")  # of which all kinds of convolution were timed
MOST_ROWS = 3_000  # of a kind of matrix products: what more teach is not worth the hours
NEUSIGHT = "timings published with NeuSight (ASPLOS 2025)"
MIOPEN = "MIOpen's find-db (November 2023)"


class Shipping:
    """The published timings, and what is fitted to them, each once."""

    def __init__(self, rows: OperatorRows) -> None:
        self._timed: dict[tuple[str, str], Mapping[str, Timed]] = {}
        for device in TIMED:
            for dtype in BYTES:
                try:
                    self._timed[device, dtype] = timed_on(rows, device, dtype)
                except PredictorError as error:
                    print(f"{device} in {dtype}: {error}", flush=True)

    def ship(self, device: str) -> None:
        """Writes the predictors of one device."""
        description = load_description(device)
        for dtype in BYTES:
            try:
                peak = peak_described(description, dtype)
            except PredictorError as error:
                print(error, flush=True)
                continue
            regressors = {kind: self._regressor(device, dtype, kind) for kind in KINDS}
            predictor = OperatorPredictor(device, dtype, (description.title,), peak, regressors)
            path = PREDICTORS / f"{device}-{dtype}.json"
            predictor.save(path)
            told = {kind: (found.basis_.how, found.judged_) for kind, found in regressors.items()}
            print(path.name, f"{path.stat().st_size / 1e3:.0f} KB", told, flush=True)

    @cache  # noqa: B019
    def _regressor(self, device: str, dtype: str, kind: str) -> Regressor:
        own = self._timed.get((device, dtype), {}).get(kind)
        peak = peak_described(load_description(device), dtype)
        if kind == "conv" and (own is None or load_description(device).runtime == "cuda"):
            return self._by_kernel_times(device, dtype)
        if own is not None:
            drawn = own if kind == "conv" else own.drawn(MOST_ROWS, 0)
            fit = RatioRegressor(kind, peak).fit(drawn.dims, drawn.took_ms, KINDS[kind].shapes(drawn.dims))
            fit.basis_ = replace(fit.basis_, timings=MIOPEN if kind == "conv" else NEUSIGHT)
            return fit
        if dtype != "fp32":
            fitted = self._regressor(device, "fp32", kind)
            assert isinstance(fitted, RatioRegressor), "fp32 is never scaled"
            errors = self._scaling_errors(dtype)
            low, high = np.quantile(errors, [0.05, 0.95]).tolist()
            inside = (low <= errors) & (errors <= high)
            devices = ", ".join(TEACHERS)
            judged_by = f"1x1 convolutions of {devices} in {dtype}, scaled alike from what they took in fp32"
            basis = Basis(SCALED, judged_by, MIOPEN)
            return ScaledRegressor(fitted, peak, min(low, 0.0), max(high, 0.0), Judged.by(errors, inside), basis)
        fit = self._transfer(kind).regressor(peak, None)
        fit.basis_ = replace(fit.basis_, timings=NEUSIGHT)
        return fit

    def _by_kernel_times(self, device: str, dtype: str) -> RatioRegressor:
        known, own = self._kernel_times(dtype), self._timed.get((device, "fp32"), {}).get("conv")
        peak = peak_described(load_description(device), dtype)
        taught = f"kernel times of {', '.join(TEACHERS)} in {dtype}"
        judged_by = "those devices, each by the rest, and the larger half of others' fp32 3x3 rows less their overhead"
        if own is None:
            basis = Basis(f"{TRANSFERRED}: {taught}", judged_by, f"{MIOPEN}; {NEUSIGHT}")
            return known.regressor(peak, known.usual, None, basis)
        seen = known.seen(own)
        how = f"{TRANSFERRED}: {taught}, {seen.times:.2f} times by its own fp32 rows"
        basis = Basis(how, judged_by, f"{MIOPEN}; {NEUSIGHT}", seen.overhead_ms)
        return known.regressor(peak, seen.times, own if dtype == "fp32" else None, basis)

    @cache  # noqa: B019
    def _kernel_times(self, dtype: str) -> KernelTimes:
        teachers = [self._timed[device, dtype]["conv"] for device in TEACHERS]
        others = [kinds["conv"] for (device, of), kinds in self._timed.items() if self._is_other(device, of, kinds)]
        return KernelTimes(teachers, others, fp32=None if dtype == "fp32" else self._kernel_times("fp32"))

    @staticmethod
    def _is_other(device: str, dtype: str, kinds: Mapping[str, Timed]) -> bool:
        return dtype == "fp32" and "conv" in kinds and load_description(device).runtime == "cuda"

    @cache  # noqa: B019
    def _transfer(self, kind: str) -> Transfer:
        sources = [kinds[kind] for (_, dtype), kinds in self._timed.items() if dtype == "fp32" and kind in kinds]
        return Transfer(kind, sources)

    @cache  # noqa: B019
    def _scaling_errors(self, dtype: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """log(measured / scaled from what fp32 took) of the 1x1 convolutions, products of matrices, that were timed in
        both dtypes."""
        conv, found = KINDS["conv"], []
        for device in TEACHERS:
            full, half = self._timed[device, "fp32"]["conv"], self._timed[device, dtype]["conv"]
            expected = Expected.fitted(conv.roofline_ms(full.dims, full.peak), full.took_ms, conv.least)
            took_ms = dict(zip(map(tuple, full.dims.tolist()), full.took_ms.tolist(), strict=True))
            both = np.array([row[3] == row[7] == 1 and tuple(row) in took_ms for row in half.dims.tolist()])
            dims = half.dims[both]
            in_fp32_ms = np.array([took_ms[tuple(row)] for row in dims.tolist()])
            faster = expected(conv.roofline_ms(dims, half.peak)) / expected(conv.roofline_ms(dims, full.peak))
            found.append(np.log(half.took_ms[both] / (in_fp32_ms * faster)))
        return np.concatenate(found)


def ship(rows: OperatorRows, devices: Sequence[str]) -> None:
    """Writes `profiles/predictors/` for these devices."""
    PREDICTORS.mkdir(exist_ok=True)
    shipping = Shipping(rows)
    for device in devices:
        shipping.ship(device)
