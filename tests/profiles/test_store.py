import csv
import dataclasses
import json
from pathlib import Path

import pytest

from latency.devices.null import Null
from latency.profiler import profile
from networks import made
from profiles.difference import difference
from profiles.errors import ProfileError
from profiles.profile import Profile
from profiles.store import (
    check_usable,
    load_profile,
    matching_profile,
    near_profiles,
    newest_profile,
    profile_path,
    shipped_profiles,
    verified,
)
from profiles.writing import save_profile


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
        (lambda record: record.update(version=1), "is of version 1; this program reads version 2: remove it"),
        (lambda record: record.update(version=3), "is of version 3"),
        (lambda record: record.update(schema="something"), "is not a profile"),
        (lambda record: record["rows"][0].update(in_context_ms=0.001), "was altered"),
        (lambda record: record["rows"].pop(), "was altered"),
        (lambda record: record["rows"].clear(), "rows: .* should be non-empty"),
        (lambda record: record["rows"][1].update(in_context_ms=-1.0), r"rows\[1\].in_context_ms: -1.0 is less than"),
        (lambda record: record["rows"][1].update(in_context_ms="0,5"), "'0,5' is not of type 'number'"),
        (lambda record: record["rows"][0]["alone"].update(latency_ms=0), "less than or equal to the minimum of 0"),
        (lambda record: record["setting"].pop("threads"), "setting: 'threads' is a required property"),
        (lambda record: record.update(more=1), "'more' was unexpected"),
        (lambda record: record.update(relative_error=float("nan")), "NaN is no latency"),
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
    elsewhere = dataclasses.replace(older, setting=dataclasses.replace(older.setting, device="cpu"))
    for profile_ in (found, older, elsewhere):
        save_profile(profile_, profile_path(tmp_path, profile_.model, profile_.setting))
    newest = (profile_path(tmp_path, found.model, found.setting), found)
    assert newest_profile(tmp_path) == newest_profile(tmp_path, ["cpu", "null"]) == newest
    assert newest_profile(tmp_path, ["cpu"]) == (profile_path(tmp_path, "older", elsewhere.setting), elsewhere)
    assert newest_profile(tmp_path, ["mi100"]) is None


def test_a_byte_order_mark_and_other_line_ends_do_no_harm(found: Profile, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    save_profile(found, path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_profile(path) == found


def test_two_rows_for_one_thing_are_refused(found: Profile, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    save_profile(dataclasses.replace(found, rows=(*found.rows, found.rows[0])), path)
    with pytest.raises(ProfileError, match="has two rows for keep of stem"):
        load_profile(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threads": 2}, "threads: 1 there, 2 here"),
        ({"batch_size": 8}, "batch size: 1 there, 8 here"),
        ({"hardware": "another"}, "hardware: none there, another here"),
        ({"dtype": "fp16"}, "dtype: fp32 there, fp16 here"),
        ({"channels_last": True}, "channels last: False there, True here"),
        ({"runtime": "torch 2"}, "runtime: arithmetic 1 there, torch 2 here"),
        ({"device": "cpu", "runtime": "torch 2"}, "device: null there, cpu here; runtime"),
    ],
)
def test_a_table_of_another_setting_is_refused_with_both(
    found: Profile, change: dict[str, object], message: str
) -> None:
    setting = dataclasses.replace(found.setting, **change)  # type: ignore[arg-type]
    with pytest.raises(ProfileError, match=message):
        check_usable(Path("p.json"), found, found.fingerprint, setting)


def test_another_version_of_the_runtime_is_warned_of_and_another_network_refused(found: Profile) -> None:
    assert check_usable(Path("p.json"), found, found.fingerprint, found.setting) == []
    newer = dataclasses.replace(found.setting, runtime="arithmetic 2")
    (warning,) = check_usable(Path("p.json"), found, found.fingerprint, newer)
    assert "another runtime: arithmetic 1 there, arithmetic 2 here" in warning
    with pytest.raises(
        ProfileError, match=f"is of another network: {found.model} {found.fingerprint} there, other here"
    ):
        check_usable(Path("p.json"), found, "other", found.setting)


def test_what_is_near_is_named_with_its_differences(found: Profile, tmp_path: Path) -> None:
    path = profile_path(tmp_path, found.model, found.setting)
    save_profile(found, path)
    wanted = dataclasses.replace(found.setting, threads=2)
    assert near_profiles(tmp_path, found.fingerprint, wanted) == [(path, ["threads: 1 there, 2 here"])]
    assert near_profiles(tmp_path, found.fingerprint, found.setting) == []


def test_a_profile_is_verified_against_its_own_networks(found: Profile, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    save_profile(found, path)
    assert verified(path).startswith("whole; measured, 5 rows, within 0.0%")
    with path.with_suffix(".csv").open("a") as file:
        file.write("another line\n")
    with pytest.raises(ProfileError, match=r"p\.csv does not hold the table of"):
        verified(path)
    wrong = dataclasses.replace(found.anchors[0], predicted_ms=9.0)
    save_profile(dataclasses.replace(found, anchors=(wrong, *found.anchors[1:])), path)
    with pytest.raises(ProfileError, match=r"for a network, and says that it predicts 9\.0"):
        verified(path)


def test_the_tables_that_ship_are_whole() -> None:
    shipped = shipped_profiles()
    origins = {(one.setting.device, one.origin) for _, one in shipped}
    assert origins == {("ort-cpu", "measured"), ("mi100", "modelled")}
    for path, one in shipped:
        assert "whole" in verified(path)
        assert path == profile_path(path.parents[1], one.model, one.setting)


def test_two_profiles_are_compared_and_the_machine_is_told_from_the_network(found: Profile) -> None:
    assert difference(found, found).verdict == "they agree within 0.0% on the whole network"
    conditions = found.conditions
    assert conditions is not None
    slower = dataclasses.replace(
        found,
        rows=tuple(dataclasses.replace(row, in_context_ms=1.2 * row.in_context_ms) for row in found.rows),
        anchors=tuple(
            dataclasses.replace(a, measured=dataclasses.replace(a.measured, latency_ms=1.2 * a.measured.latency_ms))
            for a in found.anchors
        ),
        conditions=dataclasses.replace(
            conditions,
            reference=dataclasses.replace(conditions.reference, latency_ms=1.2 * conditions.reference.latency_ms),
            cpu_share=0.7,
        ),
    )
    apart = difference(found, slower)
    assert apart.whole == pytest.approx(1.2)
    assert apart.rows[0].after_ms == pytest.approx(1.2 * found.rows[0].in_context_ms)
    assert "they are 20.0% apart on the whole network" in apart.verdict
    assert "the machine's reference took 1.200 of its time before; 0.0% is left without that" in apart.verdict
    assert "after: other work took 30% of the processor" in apart.verdict
    with pytest.raises(ProfileError, match="different networks"):
        difference(found, dataclasses.replace(found, fingerprint="other"))
