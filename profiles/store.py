"""Profiles on disk: JSON that is read back, and beside it the same table as CSV for people and spreadsheets."""

import csv
import dataclasses
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jsonschema

from profiles.errors import ProfileError
from profiles.files import write_whole
from profiles.fingerprint import is_outdated, why_not
from profiles.judgement import Judgement
from profiles.measurement import Measurement
from profiles.names import as_file_name, below
from profiles.profile import Anchor, Choices, Conditions, Pair, Profile, Row, Segment, Setting

_SCHEMA: Final = "depthfinder.profile"
_VERSION: Final = 2
_SCHEMA_FILE: Final = Path(__file__).parent / "profile.schema.json"
_SHIPPED: Final = Path(__file__).parent / "tables"
_ALONE: Final = ("latency_ms", "low_ms", "high_ms", "median_ms", "p10_ms", "p90_ms", "iqr_ms", "cpu_ms")


def save_profile(profile: Profile, path: Path) -> None:
    """Writes `path` (JSON) and the table beside it as .csv. Raises `ProfileError` for what could not be read back."""
    record = _record(profile)
    head = {"schema": _SCHEMA, "version": _VERSION, "digest": _digest(record)}
    wrong = _fault(head | record)
    if wrong is not None:
        raise ProfileError(f"this is no table that can be kept: {wrong}")
    write_whole(path.with_suffix(".csv"), to_csv(profile))
    write_whole(path, json.dumps(head | record, indent=1, allow_nan=False) + "\n")


def load_profile(path: str | Path) -> Profile:
    """The profile in a JSON file. Raises `ProfileError` when it is not whole, was altered, or is of another version."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8-sig"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise ProfileError(f"there is no profile {path}") from error
    except ValueError as error:
        raise ProfileError(f"{path} is not a whole profile ({error}); remove it and profile again") from error
    except OSError as error:
        raise ProfileError(f"{path} cannot be read ({error.strerror})") from error
    if not isinstance(record, dict) or record.get("schema") != _SCHEMA:
        raise ProfileError(f"{path} is not a profile")
    if record.get("version") != _VERSION:
        raise ProfileError(
            f"{path} is of version {record.get('version')}; this program reads version {_VERSION}: remove it and "
            "profile again"
        )
    wrong = _fault(record)
    if wrong is not None:
        raise ProfileError(f"{path}: {wrong}; profile again")
    body = {name: value for name, value in record.items() if name not in ("schema", "version", "digest")}
    if _digest(body) != record.get("digest"):
        raise ProfileError(f"{path} was altered after it was made; profile again")
    profile = _profile(body)
    twice = [what for what, n in Counter((row.signature, row.choice) for row in profile.rows).items() if n > 1]
    if twice:
        raise ProfileError(f"{path} has two rows for {twice[0][1]} of {twice[0][0]}; profile again")
    return profile


def profile_path(root: Path, model: str, setting: Setting, requested: Sequence[str] = ()) -> Path:
    """Where below `root` the profile of a model in a setting lies; one with rows for what blocks have on request lies
    beside the one without.

    Whatever the names are, it is below `root`; raises `FileNameError` where they are none, or a link leads out of it.
    """
    runtime = setting.runtime.partition(" ")[0]
    marks = ("-channels-last" if setting.channels_last else "") + ("-compiled" if setting.compiled else "")
    folder = f"{setting.device}-{runtime}-{setting.dtype}{marks}"
    more = "".join(f"+{choice}" for choice in requested)
    file = f"{model}{more}-b{setting.batch_size}-t{setting.threads}.json"
    return below(root, as_file_name(folder), as_file_name(file))


def free_path(root: Path, profile: Profile, requested: Sequence[str] = ()) -> Path:
    """Where below `root` a profile can lie without taking the place of another network's: its own place, or one beside
    it that has its fingerprint in its name. One that is outdated gives way."""
    path = profile_path(root, profile.model, profile.setting, requested)
    if path.exists():
        there = load_profile(path).fingerprint
        if there != profile.fingerprint and not is_outdated(there):
            return path.with_stem(f"{path.stem}-{profile.fingerprint}")
    return path


def matching_profile(
    root: Path,
    fingerprint: str,
    setting: Setting,
    *,
    required: Collection[tuple[str, str]] = (),
    wanted: Collection[tuple[str, str]] = (),
) -> tuple[Path, Profile] | None:
    """The profile below `root` of this chain in this very setting that has rows for all that is `required`, (signature,
    choice), and for most of what is `wanted`; the newest of several. None when there is none.

    Raises `ProfileError` for a damaged file: it might be the one that was asked for.
    """
    matching = [(path, p) for path, p in all_profiles(root) if p.fingerprint == fingerprint and p.setting == setting]
    return best_table(matching, required, wanted)


def best_table(
    tables: Iterable[tuple[Path, Profile]],
    required: Collection[tuple[str, str]],
    wanted: Collection[tuple[str, str]],
) -> tuple[Path, Profile] | None:
    """Of tables of one network that which has rows for all that is required and most of what is wanted; the newest."""
    having = [(path, table) for path, table in tables if all(table.has_row(*what) for what in required)]
    return max(having, key=lambda one: (sum(one[1].has_row(*w) for w in wanted), one[1].created), default=None)


def near_profiles(root: Path, fingerprint: str, setting: Setting) -> list[tuple[Path, list[str]]]:
    """Profiles below `root` of this chain that cannot be used in this setting, each with what differs; those first that
    differ least."""
    near = [(path, p.setting.differences(setting)) for path, p in all_profiles(root) if p.fingerprint == fingerprint]
    return sorted(((path, differences) for path, differences in near if differences), key=lambda pair: len(pair[1]))


def outdated_profiles(root: Path, model: str, setting: Setting) -> list[str]:
    """Of the profiles below `root` of a model in a setting that know it by its blocks alone: why none is used."""
    found = [(path, p) for path, p in all_profiles(root) if p.model == model and p.setting == setting]
    reasons = [why_not(path, model, p.fingerprint, "") for path, p in found if is_outdated(p.fingerprint)]
    return [reason for reason in reasons if reason is not None]


def check_usable(path: Path, profile: Profile, fingerprint: str, setting: Setting) -> list[str]:
    """What should be said before `profile` is used for a chain in a setting: another version of the same runtime.

    Raises `ProfileError`, with both sides of every difference, where its figures do not hold: for another network,
    processor, runtime, dtype, batch size or number of threads.
    """
    other = why_not(path, profile.model, profile.fingerprint, fingerprint)
    if other is not None:
        raise ProfileError(other)
    differences = profile.setting.differences(setting)
    there, here = profile.setting.runtime.partition(" ")[0], setting.runtime.partition(" ")[0]
    warned = [text for text in differences if text.startswith("runtime:") and there == here]
    refused = [text for text in differences if text not in warned]
    if refused:
        raise ProfileError(f"{path} was made in another setting ({'; '.join(refused)}): profile again here")
    return [f"{path} was made with another {text}; profile again to be sure" for text in warned]


def newest_profile(root: Path, devices: Collection[str] = ()) -> tuple[Path, Profile] | None:
    """The profile below `root`, of one of the devices if some are named, that was made last; None when there is none.

    Raises `ProfileError` for a damaged file.
    """
    found = [pair for pair in all_profiles(root) if not devices or pair[1].setting.device in devices]
    return max(found, key=lambda pair: pair[1].created, default=None)


def all_profiles(root: Path) -> list[tuple[Path, Profile]]:
    """Every profile below `root`, by its path. Raises `ProfileError` for a damaged file."""
    return [(path, load_profile(path)) for path in sorted(root.glob("*/*.json"))]


def shipped_profiles() -> list[tuple[Path, Profile]]:
    """The tables that come with the package."""
    return all_profiles(_SHIPPED)


def verified(path: Path) -> str:
    """What can be said of a profile that is whole. Raises `ProfileError` when it is not, when the table beside it says
    otherwise, or when it does not predict the networks it was made from as it says."""
    profile = load_profile(path)
    table = path.with_suffix(".csv")
    if table.exists() and table.read_text(encoding="utf-8") != to_csv(profile):
        raise ProfileError(f"{table} does not hold the table of {path}; save the profile again")
    for anchor in profile.anchors:
        found = profile.latency_ms(Choices(anchor.choices))
        if not math.isclose(found, anchor.predicted_ms, rel_tol=1e-6):
            raise ProfileError(
                f"{path} predicts {found} ms for a network, and says that it predicts {anchor.predicted_ms}"
            )
    held_out = sum(anchor.held_out for anchor in profile.anchors)
    judged = f"within {profile.relative_error:.1%} by {held_out} networks held out" if held_out else ""
    judged = judged or ("by its parts" if profile.judged else "not judged")
    return f"whole; {profile.origin}, {len(profile.rows)} rows, {judged}" + "".join(
        f"; {one.text}" for one in profile.judged
    )


def to_csv(profile: Profile) -> str:
    """One line per row of the table; figures in milliseconds."""
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


def _profile(record: Mapping[str, Any]) -> Profile:
    """From a record that the schema has passed."""
    conditions = record["conditions"]
    parts = {
        "setting": Setting(**record["setting"]),
        "segments": tuple(Segment(**segment) for segment in record["segments"]),
        "vanishing": frozenset(record["vanishing"]),
        "thinning": frozenset(record.get("thinning", ())),
        "rows": tuple(Row(**row | {"alone": _measurement(row["alone"])}) for row in record["rows"]),
        "pairs": tuple(
            Pair(**pair | {"first": tuple(pair["first"]), "second": tuple(pair["second"])}) for pair in record["pairs"]
        ),
        "anchors": tuple(
            Anchor(**anchor | {"measured": Measurement(**anchor["measured"])}) for anchor in record["anchors"]
        ),
        "judged": tuple(Judgement(**one) for one in record.get("judged", ())),
        "conditions": conditions and Conditions(**conditions | {"reference": Measurement(**conditions["reference"])}),
    }
    return Profile(**{**record, **parts})


def _measurement(record: Mapping[str, Any] | None) -> Measurement | None:
    return None if record is None else Measurement(**record)


def _fault(record: Mapping[str, Any]) -> str | None:
    """What keeps a record from being a profile, None for one that is one."""
    schema = json.loads(_SCHEMA_FILE.read_text(encoding="utf-8"))
    wrong = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(record))
    return None if wrong is None else f"{wrong.json_path.removeprefix('$.')}: {wrong.message}"


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no latency")
