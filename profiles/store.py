"""Profiles on disk: read, checked, and found by what they are of."""

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from profiles.errors import ProfileError
from profiles.fingerprint import is_outdated, why_not
from profiles.judgement import Judgement
from profiles.measurement import Measurement
from profiles.names import as_file_name, below
from profiles.profile import Anchor, Choices, Conditions, Pair, Profile, Row, Segment, Setting
from profiles.writing import SCHEMA, VERSION, digest, fault, to_csv

_SHIPPED: Final = Path(__file__).parent / "tables"


def load_profile(path: str | Path) -> Profile:
    """Reads the profile in a JSON file.

    Raises `ProfileError` when the file is missing, is not whole, was altered, or is of another version.

    Example:
        >>> path, table = shipped_profiles()[0]
        >>> load_profile(path) == table
        True
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8-sig"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise ProfileError(f"there is no profile {path}") from error
    except ValueError as error:
        raise ProfileError(f"{path} is not a whole profile ({error}); remove it and profile again") from error
    except OSError as error:
        raise ProfileError(f"{path} cannot be read ({error.strerror})") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ProfileError(f"{path} is not a profile")
    if record.get("version") != VERSION:
        raise ProfileError(
            f"{path} is of version {record.get('version')}; this program reads version {VERSION}: remove it and "
            "profile again"
        )
    wrong = fault(record)
    if wrong is not None:
        raise ProfileError(f"{path}: {wrong}; profile again")
    body = {name: value for name, value in record.items() if name not in ("schema", "version", "digest")}
    if digest(body) != record.get("digest"):
        raise ProfileError(f"{path} was altered after it was made; profile again")
    profile = _profile(body)
    twice = [what for what, n in Counter((row.signature, row.choice) for row in profile.rows).items() if n > 1]
    if twice:
        raise ProfileError(f"{path} has two rows for {twice[0][1]} of {twice[0][0]}; profile again")
    return profile


def profile_path(root: Path, model: str, setting: Setting, requested: Sequence[str] = ()) -> Path:
    """Where below `root` the profile of a model in a setting lies.

    Args:
        root: The folder of all profiles.
        model: The name of the model; any text, for the path is always below `root`.
        setting: Where and how the model is measured.
        requested: The choices on request that the table has rows for; such a table lies beside the one without.

    Raises:
        FileNameError: where a name is empty or too long, or a link leads out of `root`.
    """
    runtime = setting.runtime.partition(" ")[0]
    marks = ("-channels-last" if setting.channels_last else "") + ("-compiled" if setting.compiled else "")
    folder = f"{setting.device}-{runtime}-{setting.dtype}{marks}"
    more = "".join(f"+{choice}" for choice in requested)
    file = f"{model}{more}-b{setting.batch_size}-t{setting.threads}.json"
    return below(root, as_file_name(folder), as_file_name(file))


def free_path(root: Path, profile: Profile, requested: Sequence[str] = ()) -> Path:
    """Where below `root` a profile can lie without replacing the profile of another network.

    That is its own place, or one beside it with its fingerprint in the name. A profile that is outdated may be
    replaced.
    """
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
    """Finds the profile of a chain in exactly this setting.

    Args:
        root: The folder of all profiles.
        fingerprint: That of the chain.
        setting: Where and how networks are run here.
        required: (signature, choice) of the rows that the table has to have.
        wanted: (signature, choice) of rows of which it should have as many as possible.

    Returns:
        The path and the profile, the newest of several that are equally good; None when there is none.

    Raises:
        ProfileError: for a damaged file, which might be the one that was asked for.
    """
    matching = [(path, p) for path, p in all_profiles(root) if p.fingerprint == fingerprint and p.setting == setting]
    return best_table(matching, required, wanted)


def best_table(
    tables: Iterable[tuple[Path, Profile]],
    required: Collection[tuple[str, str]],
    wanted: Collection[tuple[str, str]],
) -> tuple[Path, Profile] | None:
    """The table that has all the required rows and most of the wanted ones, (signature, choice); the newest of
    several, None when there is none."""
    having = [(path, table) for path, table in tables if all(table.has_row(*what) for what in required)]
    return max(having, key=lambda one: (sum(one[1].has_row(*w) for w in wanted), one[1].created), default=None)


def near_profiles(root: Path, fingerprint: str, setting: Setting) -> list[tuple[Path, list[str]]]:
    """The profiles of this chain below `root` that are of other settings, each with its differences; those with the
    fewest first."""
    near = [(path, p.setting.differences(setting)) for path, p in all_profiles(root) if p.fingerprint == fingerprint]
    return sorted(((path, differences) for path, differences in near if differences), key=lambda pair: len(pair[1]))


def outdated_profiles(root: Path, model: str, setting: Setting) -> list[str]:
    """Why the profiles of this model and setting below `root` that know their network by its blocks alone cannot be
    used."""
    found = [(path, p) for path, p in all_profiles(root) if p.model == model and p.setting == setting]
    reasons = [why_not(path, model, p.fingerprint, "") for path, p in found if is_outdated(p.fingerprint)]
    return [reason for reason in reasons if reason is not None]


def check_usable(path: Path, profile: Profile, fingerprint: str, setting: Setting) -> list[str]:
    """Checks that a profile can be used for a chain in a setting.

    Args:
        path: The file of the profile, for messages.
        profile: The profile.
        fingerprint: That of the chain.
        setting: Where and how networks are run here.

    Returns:
        What the user should be told: that the profile was made with another version of the same runtime.

    Raises:
        ProfileError: where its figures do not hold here, because it is of another network, or of another processor,
            runtime, dtype, batch size or number of threads; with both sides of every difference.
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
    """The newest profile below `root`, of one of the devices if some are named; None when there is none.

    Raises `ProfileError` for a damaged file.
    """
    found = [pair for pair in all_profiles(root) if not devices or pair[1].setting.device in devices]
    return max(found, key=lambda pair: pair[1].created, default=None)


def all_profiles(root: Path) -> list[tuple[Path, Profile]]:
    """Every profile below `root` with its path, ordered by path. Raises `ProfileError` for a damaged file."""
    return [(path, load_profile(path)) for path in sorted(root.glob("*/*.json"))]


def shipped_profiles() -> list[tuple[Path, Profile]]:
    """The tables that come with the package, each with its path."""
    return all_profiles(_SHIPPED)


def verified(path: Path) -> str:
    """Checks a profile, and describes it in a line.

    Raises `ProfileError` when the file is not whole, when the CSV beside it differs, or when the table does not
    predict its own networks as it says.
    """
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


def _profile(record: Mapping[str, Any]) -> Profile:
    """The profile of a record that the schema has accepted."""
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


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no latency")
