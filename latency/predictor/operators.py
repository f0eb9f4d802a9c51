"""A device's predictor of operators: fitted from timings of them, stored as JSON."""

import datetime
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from latency.predictor.kinds import KINDS, Array
from latency.predictor.regressor import RatioRegressor
from latency.predictor.rows import OperatorRows
from latency.predictor.transfer import FEWEST_OWN, Timed, Transfer
from latency.roofline import Peak
from profiles.descriptions import Description, description_names, load_description
from profiles.files import write_whole
from pruner.progress import Progress, silent

_SCHEMA: Final = "depthfinder.predictor"
_VERSION: Final = 1
_FEWEST_SOURCES: Final = 2


class PredictorError(ValueError):
    """A predictor that cannot be fitted, or a file that is none."""


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
    """What operators take on a device, by kind."""

    device: str
    names: tuple[str, ...]
    peak: Peak
    regressors: Mapping[str, RatioRegressor]
    created: str = field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds"))

    @classmethod
    def fitted(
        cls,
        rows: OperatorRows,
        device: str,
        *,
        trees: int = 100,
        fewest: int | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> "OperatorPredictor":
        """From timings of operators on a device, by its described name or as the rows name it.

        Raises `PredictorError` when no rows are the device's, `RowsError` for rows that cannot be read.
        """
        names, peak = device_in(rows, device)
        own = rows.of(names)
        regressors = {}
        for done, (kind, (numbers, dims)) in enumerate(sorted(own.by_kind.items())):
            progress(done, len(own.by_kind), f"fitting {kind}, {len(dims)} rows")
            try:
                fit = RatioRegressor(kind, peak, trees, fewest, seed).fit(
                    dims, own.latency_ms[numbers], KINDS[kind].shapes(dims)
                )
            except ValueError as error:
                raise PredictorError(f"{rows.origin}: {error}") from error
            regressors[kind] = fit
        return cls(device, names, peak, regressors)

    @classmethod
    def transferred(
        cls, rows: OperatorRows, device: str, *, seed: int = 0, progress: Progress = silent
    ) -> "OperatorPredictor":
        """From the timings of other devices, the description of this one, and what rows of its own there are.

        Raises `PredictorError` for a device that is not described and when fewer than two others were timed,
        `RowsError` for rows that cannot be read.
        """
        found = _description_of(device)
        if found is None:
            raise PredictorError(f"{device} is not described; there are: {', '.join(description_names())}")
        peak = peak_described(found)
        of_device = {name: timed_on(rows, name) for name in sorted(set(rows.devices))}
        names = tuple(name for name in of_device if fits(found, name))
        kinds = sorted(set().union(*(set(timed) for timed in of_device.values())))
        regressors = {}
        for done, kind in enumerate(kinds):
            progress(done, len(kinds), f"transferring {kind}")
            sources = [timed[kind] for name, timed in of_device.items() if name not in names and kind in timed]
            if len(sources) < _FEWEST_SOURCES:
                raise PredictorError(
                    f"{rows.origin} has timings of {kind} on {len(sources)} other devices; a transfer takes two"
                )
            own = _together(peak, [of_device[name][kind] for name in names if kind in of_device[name]])
            regressors[kind] = Transfer(kind, sources, seed).regressor(peak, own)
        return cls(device, names or (found.title,), peak, regressors)

    def predict(self, rows: OperatorRows) -> Predictions:
        """Of every row whose device is this one, or is not named, and whose kind was fitted."""
        found = Predictions.none(len(rows))
        ours = np.array([name in ("", *self.names) for name in rows.devices])
        for kind, (numbers, dims) in rows.by_kind.items():
            mine = ours[numbers]
            if kind in self.regressors and mine.any():
                at = numbers[mine]
                regressor = self.regressors[kind]
                found.low_ms[at], found.predicted_ms[at], found.high_ms[at] = regressor.predict_interval(dims[mine])
                found.in_range[at] = regressor.in_range(dims[mine])
        return found

    def save(self, path: Path) -> None:
        """As JSON."""
        body = {
            "device": self.device,
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
        peak = Peak(**body["peak"])
        regressors = {kind: RatioRegressor.from_record(kind, peak, record) for kind, record in body["kinds"].items()}
        return cls(body["device"], tuple(body["names"]), peak, regressors, body["created"])


def _description_of(device: str) -> Description | None:
    """By its own name, or by one that it fits: mi100, MI100, AMD Instinct MI100."""
    described = [load_description(name) for name in description_names()]
    named = (d for d in described if device in (d.name, d.title))
    return next(named, None) or next((d for d in described if fits(d, device)), None)


def _together(peak: Peak, parts: Sequence[Timed]) -> Timed | None:
    """A device's own rows under all its names; None for fewer than are worth learning from."""
    if sum(len(part.dims) for part in parts) < FEWEST_OWN:
        return None
    return Timed(peak, np.vstack([part.dims for part in parts]), np.concatenate([part.took_ms for part in parts]))


def timed_on(rows: OperatorRows, device: str) -> dict[str, Timed]:
    """The rows of one device by kind. Raises `PredictorError` when there are none."""
    names, peak = device_in(rows, device)
    own = rows.of(names)
    return {kind: Timed(peak, dims, own.latency_ms[numbers]) for kind, (numbers, dims) in own.by_kind.items()}


def device_in(rows: OperatorRows, device: str) -> tuple[tuple[str, ...], Peak]:
    """The names under which rows are of a device, and its peak rates: those described, else the best that it reached.

    A device that the rows name is those rows; one that is described is all rows whose device its description fits; of
    rows that name no device at all, it is all. Raises `PredictorError` when none are.
    """
    there = sorted(set(rows.devices))
    found = _description_of(device)
    if there == [""]:
        names = [""]
    elif device in there:
        names = [device]
    else:
        names = [name for name in there if found is not None and fits(found, name)]
    if not names:
        known = ", ".join(name or "(no name)" for name in there)
        raise PredictorError(f"{rows.origin} has no timings of {device}; it has those of {known}")
    return tuple(names), peak_described(found) if found else peak_seen(rows.of(names))


def fits(description: Description, name: str) -> bool:
    """Whether a device of that name, as PyTorch gives it, is the one described."""
    words = (description.title, description.name, *description.matches)
    return any(re.search(rf"(?<![\w-]){re.escape(word)}(?!\w)", name, re.IGNORECASE) for word in words)


def peak_described(description: Description) -> Peak:
    """In fp32, of matrix products at full precision."""
    tflops = description.peak_tflops["fp32_matrix"]
    assert tflops is not None, "every device that is described has a rate in fp32"
    return Peak(tflops * 1e9, description.memory_gb_s * 1e6)


def peak_seen(rows: OperatorRows) -> Peak:
    """Of a device that is not described: the best rates that any of its rows reached."""
    rates = np.array([[0.0, 0.0]])
    for kind, (numbers, dims) in rows.by_kind.items():
        work = np.column_stack([KINDS[kind].flops(dims), KINDS[kind].traffic_bytes(dims)])
        rates = np.vstack([rates, (work / rows.latency_ms[numbers, None]).max(axis=0)])
    flops_per_ms, bytes_per_ms = rates.max(axis=0)
    return Peak(float(flops_per_ms), float(bytes_per_ms))


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no figure")


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
