import csv
import dataclasses
import json
from pathlib import Path

import pytest

from latency.devices import Null
from latency.profiler import profile
from networks import made
from profiles.errors import ProfileError
from profiles.profile import Profile
from profiles.store import load_profile, matching_profile, newest_profile, profile_path, save_profile


@pytest.fixture(scope="module")
def found() -> Profile:
    return profile(made("deit", 0), Null(), max_seconds=0.1, model_kwargs={"depth": 3})


def test_a_profile_survives_the_disk(found: Profile, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    save_profile(found, path)
    assert load_profile(path) == found
    rows = list(csv.DictReader(path.with_suffix(".csv").open()))
    assert [row["choice"] for row in rows] == [row.choice for row in found.rows]
    assert float(rows[0]["in_context_ms"]) == pytest.approx(found.rows[0].in_context_ms, abs=1e-6)


def altered(path: Path, change: object) -> None:
    record = json.loads(path.read_text())
    change(record)  # type: ignore[operator]
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.update(version=2), "is of version 2"),
        (lambda record: record.update(schema="something"), "is not a profile"),
        (lambda record: record["rows"][0].update(in_context_ms=0.001), "was altered"),
        (lambda record: record["rows"].pop(), "was altered"),
        (lambda record: record.update(fixed_ms=float("nan")), "NaN is no latency"),
        (lambda record: record["rows"][0].update(in_context_ms=float("inf")), "Infinity is no latency"),
    ],
)
def test_a_profile_that_is_not_what_was_measured_is_refused(
    found: Profile, tmp_path: Path, change: object, message: str
) -> None:
    path = tmp_path / "p.json"
    save_profile(found, path)
    altered(path, change)
    with pytest.raises(ProfileError, match=message):
        load_profile(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_profile_is_refused(found: Profile, tmp_path: Path, share: float) -> None:
    path = tmp_path / "p.json"
    save_profile(found, path)
    path.write_text(path.read_text()[: int(share * len(path.read_text()))])
    with pytest.raises(ProfileError, match="not a whole profile"):
        load_profile(path)


def test_a_missing_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="there is no profile"):
        load_profile(tmp_path / "none.json")


def test_only_the_same_chain_in_the_same_setting_matches(found: Profile, tmp_path: Path) -> None:
    path = profile_path(tmp_path, found.model, found.setting)
    save_profile(found, path)
    assert matching_profile(tmp_path, found.fingerprint, found.setting) == (path, found)
    assert matching_profile(tmp_path, "another", found.setting) is None
    for change in (
        {"threads": 2},
        {"batch_size": 8},
        {"hardware": "another"},
        {"runtime": "null 2"},
        {"device": "cpu"},
    ):
        assert matching_profile(tmp_path, found.fingerprint, dataclasses.replace(found.setting, **change)) is None


def test_the_newest_profile_is_the_last_measured(found: Profile, tmp_path: Path) -> None:
    assert newest_profile(tmp_path) is None
    older = dataclasses.replace(found, model="older", created="2001-01-01T00:00:00+00:00")
    for profile_ in (found, older):
        save_profile(profile_, profile_path(tmp_path, profile_.model, profile_.setting))
    assert newest_profile(tmp_path) == found
