"""Profiles on disk: JSON that is read back, and beside it the same table as CSV for people and spreadsheets."""

import csv
import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from profiles.errors import ProfileError
from profiles.files import write_whole
from profiles.measurement import Measurement
from profiles.profile import Anchor, Profile, Row, Setting

_SCHEMA: Final = "depthfinder.profile"
_VERSION: Final = 1
_COLUMNS: Final = (
    "signature",
    "choice",
    "blocks",
    "in_context_ms",
    "alone_median_ms",
    "alone_p10_ms",
    "alone_p90_ms",
    "alone_iqr_ms",
    "alone_low_ms",
    "alone_high_ms",
    "alone_cpu_ms",
    "n",
    "quality",
    "origin",
)


def save_profile(profile: Profile, path: Path) -> None:
    """Writes `path` (JSON) and the table beside it as .csv."""
    record = _record(profile)
    head = {"schema": _SCHEMA, "version": _VERSION, "digest": _digest(record)}
    write_whole(path.with_suffix(".csv"), to_csv(profile))
    write_whole(path, json.dumps(head | record, indent=1, allow_nan=False) + "\n")


def load_profile(path: str | Path) -> Profile:
    """The profile in a JSON file. Raises `ProfileError` when it is not whole, was altered, or is of another version."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise ProfileError(f"there is no profile {path}") from error
    except ValueError as error:
        raise ProfileError(f"{path} is not a whole profile ({error}); remove it and profile again") from error
    if not isinstance(record, dict) or record.get("schema") != _SCHEMA:
        raise ProfileError(f"{path} is not a profile")
    if record.get("version") != _VERSION:
        raise ProfileError(f"{path} is of version {record.get('version')}; this program reads version {_VERSION}")
    body = {name: value for name, value in record.items() if name not in ("schema", "version", "digest")}
    if _digest(body) != record.get("digest"):
        raise ProfileError(f"{path} was altered after it was measured; profile again")
    profile = _profile(body)
    for row in profile.rows:
        if not (math.isfinite(row.in_context_ms) and row.in_context_ms >= 0):
            raise ProfileError(f"{path}: {row.choice} of {row.signature} costs {row.in_context_ms} ms")
    return profile


def profile_path(root: Path, model: str, setting: Setting) -> Path:
    """Where below `root` the profile of a model in a setting lies."""
    runtime = setting.runtime.partition(" ")[0]
    folder = f"{setting.device}-{runtime}-{setting.dtype}"
    return root / folder / f"{model}-b{setting.batch_size}-t{setting.threads}.json"


def matching_profile(root: Path, fingerprint: str, setting: Setting) -> tuple[Path, Profile] | None:
    """The newest profile below `root` of this chain in this very setting; None when there is none.

    Raises `ProfileError` for a damaged file: it might be the one that was asked for.
    """
    matching = [(path, p) for path, p in _all(root) if p.fingerprint == fingerprint and p.setting == setting]
    return max(matching, key=lambda pair: pair[1].created, default=None)


def newest_profile(root: Path) -> Profile | None:
    """The profile below `root` that was measured last. Raises `ProfileError` for a damaged file."""
    return max((profile for _, profile in _all(root)), key=lambda profile: profile.created, default=None)


def _all(root: Path) -> list[tuple[Path, Profile]]:
    return [(path, load_profile(path)) for path in sorted(root.glob("*/*.json"))]


def to_csv(profile: Profile) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in profile.rows:
        alone = row.alone
        figures = (alone.median_ms, alone.p10_ms, alone.p90_ms, alone.iqr_ms, alone.low_ms, alone.high_ms, alone.cpu_ms)
        rounded = [f"{figure:.6f}" for figure in (row.in_context_ms, *figures)]
        writer.writerow([row.signature, row.choice, row.blocks, *rounded, alone.n, alone.quality, row.origin])
    return text.getvalue()


def _record(profile: Profile) -> dict[str, Any]:
    record = {field.name: getattr(profile, field.name) for field in dataclasses.fields(profile)}
    record["model_kwargs"] = dict(profile.model_kwargs)
    record["setting"] = dataclasses.asdict(profile.setting)
    record["signatures"] = dict(profile.signatures)
    record["vanishing"] = sorted(profile.vanishing)
    record["rows"] = [dataclasses.asdict(row) for row in profile.rows]
    record["anchors"] = [
        {
            "choices": dict(anchor.choices),
            "measured": dataclasses.asdict(anchor.measured),
            "predicted_ms": anchor.predicted_ms,
            "held_out": anchor.held_out,
        }
        for anchor in profile.anchors
    ]
    return record


def _profile(record: Mapping[str, Any]) -> Profile:
    try:
        rows = tuple(Row(**row | {"alone": Measurement(**row["alone"])}) for row in record["rows"])
        anchors = tuple(
            Anchor(**anchor | {"measured": Measurement(**anchor["measured"])}) for anchor in record["anchors"]
        )
        parts = {"setting": Setting(**record["setting"]), "vanishing": frozenset(record["vanishing"])}
        return Profile(**{**record, **parts, "rows": rows, "anchors": anchors})
    except (TypeError, KeyError) as error:
        raise ProfileError(f"this profile lacks a part: {error}") from error


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no latency")
