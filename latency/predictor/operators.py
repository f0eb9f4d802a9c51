"""A device's predictor of operators: fitted from timings of them, stored as JSON."""

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


@dataclass(frozen=True)
class Predictions:
    """Of N rows: the predictions in ms and their 90 % intervals, NaN where there is none, and whether each lies within
    what the predictor was fitted on."""

    predicted_ms: Array
    low_ms: Array
    high_ms: Array
    in_range: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def none(cls, count: int) -> "Predictions":
        nothing = np.full(count, np.nan)
        return cls(nothing, nothing.copy(), nothing.copy(), np.zeros(count, dtype=bool))


@dataclass(frozen=True, eq=False)
class OperatorPredictor:
    """What operators take on a device in one dtype, by kind."""

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
        """From timings of operators on a device in a dtype, by its described name or as the rows name it.

        Raises `PredictorError` when no rows are the device's, `RowsError` for rows that cannot be read.
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
        """From the timings of other devices, the description of this one, and what rows of its own there are.

        Raises `PredictorError` for a device that is not described and when fewer than two others were timed,
        `RowsError` for rows that cannot be read.
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
        """Of every row that is this device's, or names none, in this dtype, and of a kind that was fitted."""
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
        """Why so many rows have no prediction; a row counts under the first reason that it has."""
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
        """(N,): whether each row is of this device by any of its names, or of none."""
        described = description_of(self.device)
        ours = {
            name for name in set(rows.devices) if name in ("", *self.names) or (described and fits(described, name))
        }
        return np.array([name in ours for name in rows.devices])

    def _is_dtype(self, rows: OperatorRows) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        return np.array([dtype == self.dtype for dtype in rows.dtypes])

    def save(self, path: Path) -> None:
        """As JSON."""
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
        """Raises `FileNotFoundError`, and `PredictorError` for a file that is no predictor of this version or was
        altered."""
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
    """A device's own rows under all its names; None for fewer than are worth learning from."""
    if sum(len(part.dims) for part in parts) < FEWEST_OWN:
        return None
    return Timed(peak, np.vstack([part.dims for part in parts]), np.concatenate([part.took_ms for part in parts]))


def timed_on(rows: OperatorRows, device: str, dtype: str = "fp32") -> dict[str, Timed]:
    """The rows of one device in one dtype by kind. Raises `PredictorError` when there are none."""
    names, peak = device_in(rows, device, dtype)
    own = rows.of(names, dtype)
    return {kind: Timed(peak, dims, own.latency_ms[numbers]) for kind, (numbers, dims) in own.by_kind.items()}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no figure")


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
