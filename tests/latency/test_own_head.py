"""Another head costs one reading: on the device of exact arithmetic the table is the one of a whole new profile."""

import dataclasses
from random import Random
from typing import Any

import pytest

from latency.devices.null import MS_PER_PARAMETER, Null
from latency.own_head import can_change_head, with_own_head
from latency.profiler import profile
from profiles.errors import ProfileError
from profiles.fingerprint import differ_in_head_alone, why_not
from profiles.profile import Profile
from profiles.store import load_profile, verified
from profiles.writing import save_profile
from pruner.models.load import load_model
from pruner.network.surgery import describe

NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18": {"img_size": 32, "layers": (1, 1, 1, 1), "channels": (8, 12, 16, 24)},
    "mobilenetv2_035": {"img_size": 32},
    "convnext_atto": {"img_size": 32, "depths": (1, 1, 2, 1)},
    "deit_tiny_patch16_224": {"img_size": 32, "depth": 3, "embed_dim": 24, "num_heads": 2},
}


def made(name: str, classes: int) -> Any:
    return load_model(name, **NETWORKS[name], num_classes=classes)


def table_of(name: str, classes: int, extra_choices: tuple[str, ...] = ()) -> Profile:
    return profile(made(name, classes), Null(), max_seconds=0.1, extra_choices=extra_choices)


def rows_of(table: Profile) -> dict[tuple[str, str], tuple[float, float, float]]:
    return {(r.signature, r.choice): (r.in_context_ms, r.low_ms, r.high_ms) for r in table.rows}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_table_that_a_whole_profile_makes(name: str) -> None:
    before, model = table_of(name, 1000), made(name, 2)
    found = with_own_head(before, model, Null(), seconds=0.1, model_kwargs={"num_classes": 2})
    expected = profile(model, Null(), max_seconds=0.1)
    assert rows_of(found) == rows_of(expected)
    assert found.fingerprint == expected.fingerprint == describe(model).fingerprint
    chain = describe(model)
    for seed in range(5):
        plan = chain.random_plan(0.6, Random(seed))
        assert found.latency_ms(plan) == expected.latency_ms(plan)
    # 998 rows of the last matrix and their biases are gone.
    width = made(name, 2).num_features if not hasattr(model, "head_hidden_size") else model.head_hidden_size
    assert before.baseline_ms - found.baseline_ms == 998 * (width + 1) * MS_PER_PARAMETER
    assert [row.signature for row in found.rows if row.origin == "measured again"] == ["head"]
    assert all(row in before.rows for row in found.rows if row.origin == "measured")
    (uncut,) = found.anchors
    assert (dict(uncut.choices), uncut.held_out, uncut.error, found.relative_error) == ({}, True, 0.0, 0.0)


def test_a_head_behind_thinned_tokens_has_a_row_of_its_own() -> None:
    extra_choices = ("thin",)
    name = "deit_tiny_patch16_224"
    before = table_of(name, 10, extra_choices)
    found = with_own_head(before, made(name, 3), Null(), seconds=0.1)
    assert rows_of(found) == rows_of(table_of(name, 3, extra_choices))
    again = [(row.signature, row.choice) for row in found.rows if row.origin == "measured again"]
    assert again == [("head", "keep"), ("head", "keep, thinned")]


def test_what_the_head_costs_is_scaled_as_the_table_is(tmp_path: Any) -> None:
    """A table of a machine that was half as fast, where pieces take a tenth more in networks than alone."""
    name = "resnet18"
    exact = table_of(name, 1000)
    assert exact.conditions is not None
    slow = dataclasses.replace(
        exact,
        anchors=tuple(
            dataclasses.replace(a, measured=dataclasses.replace(a.measured, latency_ms=1.1 * a.measured.latency_ms))
            for a in exact.anchors
        ),
        conditions=dataclasses.replace(
            exact.conditions,
            reference=dataclasses.replace(
                exact.conditions.reference, latency_ms=2 * exact.conditions.reference.latency_ms
            ),
        ),
        relative_error=0.07,
    )
    found = with_own_head(slow, made(name, 2), Null(), seconds=0.1)
    head = next(row for row in found.rows if row.origin == "measured again")
    assert head.alone is not None
    assert head.in_context_ms == pytest.approx(2 * 1.1 * head.alone.latency_ms)
    assert head.low_ms <= head.in_context_ms <= head.high_ms
    assert found.relative_error == max(0.07, abs(found.anchors[0].error))
    path = tmp_path / "p.json"
    save_profile(found, path)
    assert load_profile(path) == found
    assert verified(path).startswith("whole; measured")
    assert "measured again" in path.with_suffix(".csv").read_text()


def test_more_than_a_head_and_a_table_that_nobody_measured_are_refused() -> None:
    table = table_of("resnet18", 1000)
    wider = load_model("resnet18", **NETWORKS["resnet18"] | {"stem_width": 32, "stem_type": "deep"}, num_classes=2)
    with pytest.raises(ProfileError, match="is of more than another head"):
        with_own_head(table, wider, Null())
    modelled = dataclasses.replace(table, anchors=(), origin="modelled")
    assert not can_change_head(modelled)
    with pytest.raises(ProfileError, match="nothing was measured to go by"):
        with_own_head(modelled, made("resnet18", 2), Null())


def test_fingerprints_say_why_a_table_is_not_used() -> None:
    assert differ_in_head_alone("ab-1", "ab-2")
    for one, other in (("ab-1", "ab-1"), ("ab-1", "ac-1"), ("ab", "ab-1"), ("ab", "ac"), ("ab-1", "ab")):
        assert not differ_in_head_alone(one, other)
    assert why_not("t.json", "resnet18", "ab-1", "ab-1") is None
    head = why_not("t.json", "resnet18", "ab-1", "ab-2")
    assert head is not None
    assert head.startswith(
        "t.json is of this network with another head; make it again: depthfinder profile --model resnet18"
    )
    old = why_not("t.json", "resnet18", "ab", "ab-1")
    assert old is not None
    assert "knows its network by the blocks alone, so its stem and head may be others" in old
    other = why_not("t.json", "resnet18", "ac-1", "ab-1")
    assert other == "t.json is of another network: resnet18 ac-1 there, ab-1 here"
