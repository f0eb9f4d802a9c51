"""Profiles as they are written: JSON that is read back, and the same table beside it as CSV for people."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema

from profiles.errors import ProfileError
from profiles.files import write_whole

if TYPE_CHECKING:
    from profiles.profile import Profile

SCHEMA: Final = "depthfinder.profile"
VERSION: Final = 2
_SCHEMA_FILE: Final = Path(__file__).parent / "profile.schema.json"
_ALONE: Final = ("latency_ms", "low_ms", "high_ms", "median_ms", "p10_ms", "p90_ms", "iqr_ms", "cpu_ms")


def save_profile(profile: Profile, path: Path) -> None:
    """Writes a profile to `path` as JSON, and its rows beside it as CSV.

    Raises `ProfileError` for a profile that could not be read back.
    """
    record = _record(profile)
    head = {"schema": SCHEMA, "version": VERSION, "digest": digest(record)}
    wrong = fault(head | record)
    if wrong is not None:
        raise ProfileError(f"this is no table that can be kept: {wrong}")
    write_whole(path.with_suffix(".csv"), to_csv(profile))
    write_whole(path, json.dumps(head | record, indent=1, allow_nan=False) + "\n")


def to_csv(profile: Profile) -> str:
    """The rows of the table as CSV, one a line, with figures in milliseconds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    alone = [f"alone_{name}" for name in _ALONE]
    figures = [
        "in_context_ms",
        "low_ms",
        "high_ms",
        "floor_ms",
        "efficiency",
        *(["host_ms"] if profile.has_host else []),
    ]
    writer.writerow(["signature", "choice", "blocks", *figures, *alone, "n", "quality", "origin"])
    for row in profile.rows:
        cells = [_figure(getattr(row, name)) for name in figures]
        cells += [_figure(getattr(row.alone, name, None)) for name in _ALONE]
        known = (row.alone.n, row.alone.quality) if row.alone else ("", "")
        writer.writerow([row.signature, row.choice, row.blocks, *cells, *known, row.origin])
    return text.getvalue()


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _record(profile: Profile) -> dict[str, Any]:
    record = {field.name: getattr(profile, field.name) for field in dataclasses.fields(profile)}
    record["model_kwargs"] = dict(profile.model_kwargs)
    record["setting"] = dataclasses.asdict(profile.setting)
    record["segments"] = [dataclasses.asdict(segment) for segment in profile.segments]
    record["vanishing"] = sorted(profile.vanishing)
    record["thinning"] = sorted(profile.thinning)
    if not profile.thinning:
        del record["thinning"]  # a table without it is what it was before there was any such choice
    record["rows"] = [dataclasses.asdict(row) for row in profile.rows]
    record["pairs"] = [
        {**dataclasses.asdict(p), "first": list(p.first), "second": list(p.second)} for p in profile.pairs
    ]
    record["judged"] = [dataclasses.asdict(judgement) for judgement in profile.judged]
    if not profile.has_host:  # and so is one without a host's share
        del record["host_error"]
        for part in (*record["rows"], *record["pairs"]):
            del part["host_ms"]
    if not profile.judged:
        del record["judged"]
    record["anchors"] = [
        {
            "choices": dict(anchor.choices),
            "measured": dataclasses.asdict(anchor.measured),
            "predicted_ms": anchor.predicted_ms,
            "held_out": anchor.held_out,
        }
        for anchor in profile.anchors
    ]
    record["conditions"] = dataclasses.asdict(profile.conditions) if profile.conditions else None
    return record


def fault(record: Mapping[str, Any]) -> str | None:
    """The reason why a record is not a profile; None for one that is."""
    schema = json.loads(_SCHEMA_FILE.read_text(encoding="utf-8"))
    wrong = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(record))
    return None if wrong is None else f"{wrong.json_path.removeprefix('$.')}: {wrong.message}"


def digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
