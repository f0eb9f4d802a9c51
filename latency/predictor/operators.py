"""Predicts what operators take on a device, by regressions that are fitted to timings and stored as JSON."""

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from latency.errors import PredictorError
from latency.predictor.boosted import Growth
from latency.predictor.described import description_of, device_in, fits, peak_described
from latency.predictor.kinds import KINDS
from latency.predictor.regressor import RatioRegressor
from latency.predictor.rows import OperatorRows
from latency.predictor.scaled import ScaledRegressor
from latency.predictor.tiles import Array
from latency.predictor.transfer import FEWEST_OWN, Timed, Transfer
from latency.roofline import Peak
from profiles.descriptions import description_names
from profiles.files import write_whole
from pruner.progress import Progress, silent

_SCHEMA: Final = "depthfinder.predictor"
_VERSION: Final = 2
_FEWEST_SOURCES: Final = 2


Regressor = RatioRegressor | ScaledRegressor
"""The regression of one kind of operator."""


@dataclass(frozen=True)
class Predictions:
    """Predictions for N rows of operators; they are NaN for rows that the predictor cannot predict.

    Attributes:
        predicted_ms: (N,), the predictions in milliseconds.
        low_ms: (N,), the lower bounds of their 90 % intervals.
        high_ms: (N,), the upper bounds of their 90 % intervals.
        in_range: (N,), whether the row lies within the range of the timings that the predictor was fitted to.
    """

    predicted_ms: Array
    low_ms: Array
    high_ms: Array
    in_range: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def none(cls, count: int) -> "Predictions":
        """Returns no predictions for `count` rows: NaN, and out of range."""
        nothing = np.full(count, np.nan)
        return cls(nothing, nothing.copy(), nothing.copy(), np.zeros(count, dtype=bool))


@dataclass(frozen=True, eq=False)
class OperatorPredictor:
    """Predicts what operators take on one device in one dtype.

    Attributes:
        device: The device's name.
        dtype: The dtype of the operators.
        names: The names under which rows of timings are of this device.
        peak: The device's peak rates in the dtype.
        regressors: Kind of operator -> its regression.
        created: When the predictor was made, in UTC.
    """

    device: str
    dtype: str
    names: tuple[str, ...]
    peak: Peak
    regressors: Mapping[str, Regressor]
    created: str = field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds"))

    @classmethod
    def fitted(
        cls,
        rows: OperatorRows,
        device: str,
        *,
        dtype: str = "fp32",
        growth: Growth | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> "OperatorPredictor":
        """Fits a predictor to timings of operators on a device.

        Args:
            rows: The timings; those of other devices and dtypes are left out.
            device: The device, by a name that its description fits or as the rows name it.
            dtype: The dtype of the operators.
            growth: How the trees are grown; by default, what is enough for each kind.
            seed: Seed of the folds and the trees.
            progress: Called before each kind is fitted.

        Raises:
            PredictorError: when no rows are of the device in the dtype, or a kind has too few.
            RowsError: when a row cannot be read.
        """
        names, peak = device_in(rows, device, dtype)
        own = rows.of(names, dtype)
        regressors: dict[str, Regressor] = {}
        for done, (kind, (numbers, dims)) in enumerate(sorted(own.by_kind.items())):
            progress(done, len(own.by_kind), f"fitting {kind}, {len(dims)} rows")
            try:
                fit = RatioRegressor(kind, peak, growth, seed).fit(
                    dims, own.latency_ms[numbers], KINDS[kind].shapes(dims)
                )
            except ValueError as error:
                raise PredictorError(f"{rows.origin}: {error}") from error
            fit.basis_ = replace(fit.basis_, timings=rows.origin)
            regressors[kind] = fit
        return cls(device, dtype, names, peak, regressors)

    @classmethod
    def transferred(
        cls,
        rows: OperatorRows,
        device: str,
        *,
        dtype: str = "fp32",
        seed: int = 0,
        progress: Progress = silent,
    ) -> "OperatorPredictor":
        """Makes a predictor for a described device from the timings of other devices.

        Args:
            rows: Timings on other devices, and on this one if there are any.
            device: The device, by a name that its description fits.
            dtype: The dtype of the operators.
            seed: Seed of the rows drawn and the trees.
            progress: Called before each kind is transferred.

        Raises:
            PredictorError: when the device is not described or has no rate for the dtype, or a kind was timed on fewer
                than two other devices.
            RowsError: when a row cannot be read.
        """
        found = description_of(device)
        if found is None:
            raise PredictorError(f"{device} is not described; there are: {', '.join(description_names())}")
        peak = peak_described(found, dtype)
        timed = sorted({name for name, own in zip(rows.devices, rows.dtypes, strict=True) if own == dtype})
        of_device = {name: timed_on(rows, name, dtype) for name in timed}
        names = tuple(name for name in of_device if fits(found, name))
        every = sorted(set().union(*map(set, of_device.values())))
        regressors: dict[str, Regressor] = {}
        for done, kind in enumerate(every):
            progress(done, len(every), f"transferring {kind}")
            sources = [kinds[kind] for name, kinds in of_device.items() if name not in names and kind in kinds]
            if len(sources) < _FEWEST_SOURCES:
                raise PredictorError(
                    f"{rows.origin} has timings of {kind} on {len(sources)} other devices; a transfer takes two"
                )
            own = _together(peak, [of_device[name][kind] for name in names if kind in of_device[name]])
            regressors[kind] = Transfer(kind, sources, seed).regressor(peak, own)
        return cls(device, dtype, names or (found.title,), peak, regressors)

    def predict(self, rows: OperatorRows) -> Predictions:
        """Predicts the rows that are of this device, or name none, in this dtype, and of a kind that was fitted."""
        found = Predictions.none(len(rows))
        ours = self._is_ours(rows) & self._is_dtype(rows)
        for kind, (numbers, dims) in rows.by_kind.items():
            mine = ours[numbers]
            if kind in self.regressors and mine.any():
                at = numbers[mine]
                regressor = self.regressors[kind]
                found.low_ms[at], found.predicted_ms[at], found.high_ms[at] = regressor.predict_interval(dims[mine])
                found.in_range[at] = regressor.in_range(dims[mine])
        return found

    def refused(self, rows: OperatorRows) -> dict[str, int]:
        """Returns reason -> how many rows have no prediction for it; each row counts under its first reason."""
        ours, same = self._is_ours(rows), self._is_dtype(rows)
        known = np.zeros(len(rows), dtype=bool)
        for kind in self.regressors.keys() & rows.by_kind.keys():
            known[rows.by_kind[kind][0]] = True
        reasons = {
            f"of another device than {self.device}": int((~ours).sum()),
            f"of another dtype than {self.dtype}": int((ours & ~same).sum()),
            f"of a kind that was not fitted (it knows {', '.join(self.regressors)})": int((ours & same & ~known).sum()),
        }
        return {reason: count for reason, count in reasons.items() if count}

    def _is_ours(self, rows: OperatorRows) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """(N,): whether each row is of this device, by any of its names, or names no device."""
        described = description_of(self.device)
        ours = {
            name for name in set(rows.devices) if name in ("", *self.names) or (described and fits(described, name))
        }
        return np.array([name in ours for name in rows.devices])

    def _is_dtype(self, rows: OperatorRows) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        return np.array([dtype == self.dtype for dtype in rows.dtypes])

    def save(self, path: Path) -> None:
        """Writes the predictor as JSON, with a digest."""
        body = {
            "device": self.device,
            "dtype": self.dtype,
            "names": list(self.names),
            "peak": asdict(self.peak),
            "created": self.created,
            "kinds": {kind: regressor.to_record() for kind, regressor in self.regressors.items()},
        }
        head = {"schema": _SCHEMA, "version": _VERSION, "digest": _digest(body)}
        write_whole(path, json.dumps(head | body, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "OperatorPredictor":
        """Reads a predictor that `save` wrote.

        Raises:
            FileNotFoundError: when there is no such file.
            PredictorError: when the file is no predictor of this version, is not whole, or was altered.
        """
        if not path.is_file():
            raise FileNotFoundError(f"there is no predictor {path}")
        try:
            record = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_refuse_constant)
        except ValueError as error:
            raise PredictorError(f"{path} is not a whole predictor ({error}); fit it again") from error
        if not isinstance(record, dict) or record.get("schema") != _SCHEMA:
            raise PredictorError(f"{path} is not a predictor")
        if record.get("version") != _VERSION:
            raise PredictorError(
                f"{path} is of version {record.get('version')}; this program reads version {_VERSION}: fit it again"
            )
        body = {name: value for name, value in record.items() if name not in ("schema", "version", "digest")}
        if _digest(body) != record.get("digest"):
            raise PredictorError(f"{path} was altered after it was made; fit it again")
        try:
            return cls._from_record(body)
        except (KeyError, TypeError, ValueError) as error:
            raise PredictorError(f"{path} is not a whole predictor ({error}); fit it again") from error

    @classmethod
    def _from_record(cls, body: Mapping[str, Any]) -> "OperatorPredictor":
        unknown = set(body["kinds"]) - set(KINDS)
        if unknown:
            raise ValueError(f"it knows of {', '.join(sorted(unknown))}, which this program does not")
        regressors: dict[str, Regressor] = {}
        for kind, record in body["kinds"].items():
            read = ScaledRegressor.from_record if "scaled" in record else RatioRegressor.from_record
            regressors[kind] = read(kind, record)
        peak = Peak(**body["peak"])
        return cls(body["device"], body["dtype"], tuple(body["names"]), peak, regressors, body["created"])


def _together(peak: Peak, parts: Sequence[Timed]) -> Timed | None:
    """Joins a device's own rows under all its names; None if they are too few to learn from."""
    if sum(len(part.dims) for part in parts) < FEWEST_OWN:
        return None
    return Timed(peak, np.vstack([part.dims for part in parts]), np.concatenate([part.took_ms for part in parts]))


def timed_on(rows: OperatorRows, device: str, dtype: str = "fp32") -> dict[str, Timed]:
    """Returns the timings of one device in one dtype by kind of operator.

    Raises:
        PredictorError: when there are none.
        RowsError: when a row cannot be read.
    """
    names, peak = device_in(rows, device, dtype)
    own = rows.of(names, dtype)
    return {kind: Timed(peak, dims, own.latency_ms[numbers]) for kind, (numbers, dims) in own.by_kind.items()}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no figure")


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
