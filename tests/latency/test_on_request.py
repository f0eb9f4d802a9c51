"""What blocks have on request, measured: rows of their own, and others for what runs behind on fewer tokens."""

import dataclasses
import json
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latency.design import designed_plans
from latency.devices import open_device
from latency.devices.null import MS_PER_PARAMETER, Null
from latency.devices.ort import open_session
from latency.export import export_onnx
from latency.mode import Mode
from latency.modelled import modelled_profile, timed_pieces
from latency.onnx_graph import join
from latency.pieces import THINNING, VANISHING, Pieces, all_choices, places_of, plan_with
from latency.profiler import profile
from latency.study import Study, key_of
from latency.workbench import Workbench
from networks import images_for, made
from profiles.profile import Choices, Profile
from profiles.store import load_profile, matching_profile, profile_path, verified
from profiles.walk import rows_of, thinned
from pruner.choices.choice import THIN
from pruner.choices.plan import Plan
from pruner.network.surgery import apply, describe, merge

ALSO = ("merge-act", "narrow", "thin")


@pytest.fixture(scope="module")
def found() -> Profile:
    return profile(made("deit", 0), Null(), max_seconds=0.1, extra_choices=ALSO)


def test_there_is_a_row_for_whatever_may_stand_behind_a_thinned_block(found: Profile) -> None:
    assert [(row.signature.split()[0], row.choice, row.blocks) for row in found.rows] == [
        ("stem", "keep", 1),
        ("head", "keep", 1),
        ("vit.attn", "keep", 3),
        ("vit.attn", "narrow", 3),
        ("vit.attn", "thin", 3),
        ("vit.ffn", "keep", 3),
        ("vit.ffn", "merge", 3),
        ("vit.ffn", "merge-act", 3),
        ("head", "keep, thinned", 1),
        ("vit.ffn", "keep, thinned", 3),
        ("vit.ffn", "merge, thinned", 3),
        ("vit.ffn", "merge-act, thinned", 3),
        ("vit.attn", "keep, thinned", 2),
        ("vit.attn", "narrow, thinned", 2),
    ]
    assert found.thinning == {THIN}
    assert found.baseline_ms == found.latency_ms(Choices({}))


def test_the_table_is_exact_for_any_plan(found: Profile) -> None:
    model = made("deit", 0)
    chain = describe(model, ALSO)
    assert found.fingerprint == chain.fingerprint
    for seed in range(12):
        plan = chain.random_plan(0.6, Random(seed))
        if seed % 3 == 0:
            plan = chain.plan({**plan.choices, **dict.fromkeys(chain.thinning[1:], THIN)})
        cut = apply(model, plan)
        cut.set_lambda(0.0)
        true_ms = sum(parameter.numel() for parameter in merge(cut).parameters()) * MS_PER_PARAMETER
        assert found.latency_ms(plan) == true_ms


def test_layers_that_become_one_do_so_behind_a_thinned_block_too(found: Profile) -> None:
    merged = {"blocks.1.mlp": "merge", "blocks.2.attn": "drop", "blocks.2.mlp": "merge"}
    apart, joined = {"blocks.1.mlp": "merge", "blocks.2.mlp": "merge"}, merged
    for first in ({}, {"blocks.0.attn": THIN}):
        row = "keep, thinned" if first else "keep"
        saved = found.latency_ms(Choices(first | apart)) - found.latency_ms(Choices(first | joined))
        linear = 24 * 25 * MS_PER_PARAMETER
        assert saved == found.block_ms("blocks.2.attn", row) + linear


def test_pieces_are_measured_with_the_tokens_that_come_to_them() -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    bench = Pieces(made("deit", 0), lambda module, example: tuple(example.shape), 2, ALSO)
    for plan in all_choices(bench.chain):
        shapes |= {key: bench.fragment(key) for key in bench.network_keys(plan)}
    wanted = places_of(bench.chain, bench.segments)
    assert {key_of([what]) for what in wanted} <= set(shapes)
    for signature, row in wanted:
        if signature != "stem":
            assert shapes[key_of([(signature, row)])] == (2, 13 if row.endswith(", thinned") else 17, 24)


def test_a_row_has_a_plan_that_runs_through_it() -> None:
    bench = Workbench(made("deit", 0), Null(), 1, ALSO)
    for what in places_of(bench.chain, bench.segments):
        assert key_of([what]) in bench.network_keys(plan_with(bench.chain, what))


@pytest.mark.parametrize("seed", range(3))
def test_the_networks_that_are_measured_have_every_row_and_thin_at_several_places(seed: int) -> None:
    chain = describe(made("deit", 0), ALSO)
    bench = Pieces(made("deit", 0), lambda module, example: None, 1, ALSO)
    designed = designed_plans(chain, 24, 8, seed)
    assert not designed.fitted[0].choices
    signatures = {segment.name: segment.signature for segment in bench.segments}
    rows = [
        {(signatures[name], row) for name, row in rows_of(bench.segments, plan, VANISHING, THINNING)}
        for plan in designed.fitted
    ]
    for what in places_of(chain, bench.segments):
        assert sum(what in one for one in rows) >= 2, what
    told = {name for plan in designed.fitted for name in chain.thinning if plan.choice_of(name) == THIN}
    assert told == set(chain.thinning)


def test_chains_without_such_choices_are_measured_by_the_networks_they_always_were() -> None:
    chain = describe(made("deit", 0))
    plans = designed_plans(chain, 24, 8, seed=3).fitted
    assert dict(plans[1].choices) == {"blocks.2.mlp": "merge"}
    assert dict(plans[2].choices) == {"blocks.1.mlp": "drop"}
    assert len(all_choices(chain)) == 3


def test_tables_with_and_without_are_two_and_both_are_read_back(found: Profile, tmp_path: Path) -> None:
    plain = dataclasses.replace(profile(made("deit", 0), Null(), max_seconds=0.1), created="9999-12-31T00:00:00+00:00")
    paths = [profile_path(tmp_path, one.model, one.setting, more) for one, more in ((found, ("thin",)), (plain, ()))]
    for path, table in zip(paths, (found, plain), strict=True):
        path.parent.mkdir(exist_ok=True)
        table.save(path)
        assert load_profile(path) == table
        assert "whole" in verified(path)
    assert paths[0] != paths[1]
    assert found.fingerprint == plain.fingerprint, "it is one network"
    thinning, fits = {(row.signature, row.choice) for row in found.rows if row.choice == THIN}, {("no block", "fit")}
    search = partial(matching_profile, tmp_path, found.fingerprint, found.setting)
    assert search() == (paths[1], plain), "the newest"
    assert search(required=thinning) == search(wanted=thinning) == search(wanted=thinning | fits) == (paths[0], found)
    assert search(required=thinning | fits) is None
    assert json.loads(paths[0].read_text())["thinning"] == ["thin"]
    assert "thinning" not in json.loads(paths[1].read_text())  # as in every table from before there was such a choice
    assert plain.thinning == frozenset()


def test_a_study_from_before_has_no_choice_that_thins() -> None:
    record = Study("m", {}, "f", 1, (), frozenset({"drop"}), {}, {}, (), frozenset({THIN})).to_record()
    assert Study.from_record(record).thinning == {THIN}
    del record["thinning"]
    assert Study.from_record(record).thinning == frozenset()


CHOICES = {"blocks.0.attn": "narrow", "blocks.1.attn": THIN, "blocks.1.mlp": "merge", "blocks.2.attn": "narrow"}


def network(shape: str) -> tuple[nn.Module, nn.Module, Plan, Tensor]:
    model = made(shape, 0)
    plan = Plan(describe(model).model, CHOICES)
    cut = apply(model, plan).eval()
    cut.set_lambda(0.0)
    return model, merge(cut), plan, images_for(model, torch.float32)


@pytest.mark.parametrize("shape", ["deit", "pooled, no class token", "distilled", "odd width", "non-square"])
def test_what_is_exported_computes_the_same(shape: str, tmp_path: Path) -> None:
    _, merged, plan, images = network(shape)
    parity = export_onnx(merged, tmp_path / "m.onnx", images, plan=plan)
    assert parity.same_top1 == parity.images == len(images)
    assert parity.largest_difference < 1e-4
    session = open_session(str(tmp_path / "m.onnx"), threads=1)
    for batch in (1, 2, 5):
        (logits,) = session.run(None, {"images": images[:batch].numpy()})
        np.testing.assert_allclose(logits, merged(images[:batch]).detach().numpy(), atol=1e-4)


def test_pieces_joined_on_onnx_runtime_are_the_network() -> None:
    model, merged, plan, images = network("deit")
    bench = Workbench(model, open_device("ort-cpu"), len(images), ALSO)
    route = bench.route(plan)
    keys = route.keys
    assert keys[3].endswith("-> thin")
    assert all(key.endswith(", thinned") for key in keys[4:])
    session = open_session(join([bench.fragment(key) for key in keys], route.wires).SerializeToString(), threads=1)
    (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    # The weights of each place are told apart by thousandths; a wrong graph would be off by far more.
    expected = merged(images).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=0.05 * np.abs(expected).max())


def test_a_table_that_is_modelled_has_the_rows_too() -> None:
    model = made("deit", 0)
    table = modelled_profile(model, "mi100", Mode(), batch_size=64, extra_choices=ALSO)
    assert table.thinning == {THIN}
    attention = table.block_ms("blocks.1.attn", "keep")
    assert table.block_ms("blocks.1.attn", thinned("keep")) < attention < table.block_ms("blocks.1.attn", THIN)
    assert len(timed_pieces(dataclasses.replace(table, origin="measured"), model)) == len(table.rows)
