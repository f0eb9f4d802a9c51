"""Profiling on the device of exact arithmetic, where every figure is known beforehand."""

from random import Random

import pytest
import torch
from torch import nn

from latency.device import known_device, open_device
from latency.devices.null import MS_PER_PARAMETER, Null
from latency.mode import Mode
from latency.profiler import profile
from latency.roofline import Peak, work_of
from latency.rounds import Reading
from latency.study import REFERENCE, Kind, Network, Study, Work
from latency.table import Table
from latency.timing import Timings
from latency.workbench import Workbench
from networks import made
from profiles.errors import ProfileError
from profiles.profile import Profile, Segment, Setting
from pruner.algebra.flow import row
from pruner.choices.plan import Plan
from pruner.models.load import load_model
from pruner.network.surgery import apply, describe, merge


@pytest.fixture(scope="module")
def found() -> Profile:
    return profile(made("deit", 0), Null(), max_seconds=30)


@pytest.mark.parametrize("shape", ["deit", "basic", "bottleneck, deep stem", "inverted residual", "convnext"])
def test_the_table_is_exact_for_any_plan(shape: str) -> None:
    model = made(shape, 0)
    table = profile(model, Null(), max_seconds=0.1)  # no time: the fewest networks
    chain = describe(model)
    for seed in range(6):
        plan = chain.random_plan(0.6, Random(seed))
        cut = apply(model, plan)
        cut.set_lambda(0.0)
        true_ms = sum(parameter.numel() for parameter in merge(cut).parameters()) * MS_PER_PARAMETER
        # Layers in a row that become one are counted as one.
        assert table.latency_ms(plan) == true_ms
        assert table.interval_ms(plan) == (true_ms, true_ms)
    assert all(row.low_ms == row.in_context_ms == row.high_ms for row in table.rows)


def test_what_follows_what_is_a_term_where_both_become_one_layer(found: Profile) -> None:
    (pair,) = found.pairs
    assert pair.first == pair.second
    assert pair.first[1] == "merge"
    assert pair.in_context_ms == -24 * 25 * MS_PER_PARAMETER


def test_each_distinct_choice_is_measured_once(found: Profile) -> None:
    assert [(row.signature.split()[0], row.choice, row.blocks) for row in found.rows] == [
        ("stem", "keep", 1),
        ("head", "keep", 1),
        ("vit.attn", "keep", 3),
        ("vit.ffn", "keep", 3),
        ("vit.ffn", "merge", 3),
    ]
    assert all(row.origin == "measured" for row in found.rows)
    assert all(row.low_ms <= row.in_context_ms <= row.high_ms for row in found.rows)


def test_held_out_networks_judge_the_table(found: Profile) -> None:
    held_out = [anchor for anchor in found.anchors if anchor.held_out]
    assert len(found.anchors) == 32
    assert len(held_out) == 8
    assert len({tuple(anchor.choices.items()) for anchor in found.anchors}) == 32
    assert found.relative_error == 0
    assert found.baseline_ms == found.latency_ms(Plan(found.model))
    assert found.conditions is not None
    assert found.conditions.noise is None


def test_a_chain_of_one_block_has_a_table_too() -> None:
    table = profile(load_model("deit_digits", depth=1), Null(), max_seconds=0.1)
    assert 3 <= len(table.anchors) <= 6
    assert table.relative_error == 0


def test_a_plan_of_unknown_choices_has_no_latency(found: Profile) -> None:
    with pytest.raises(KeyError, match="no row for 'separable' of blocks"):
        found.latency_ms(Plan(found.model, {"blocks.0.mlp": "separable"}))


def test_pieces_are_compiled_once() -> None:
    compiled: list[nn.Module] = []

    class Counting(Null):
        name = "counting"

        def compile(self, module: nn.Module, example: object) -> float:
            compiled.append(module)
            return 1.0

    bench = Workbench(made("deit", 0), Counting(), batch_size=1)
    for seed in range(5):
        bench.program_of(bench.chain.random_plan(0.5, Random(seed)))
    # stem, attention, FFN, merged FFN, two and three merged FFNs as one linear, head
    assert [len(kind.row_keys) for kind in bench.kinds.values()].count(1) == 5
    assert len(compiled) == len(bench.kinds) <= 7


def test_with_little_room_there_are_fewer_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latency.profiler._SHARE_OF_MEMORY", 0.0)
    table = profile(made("deit", 0), Null(), max_seconds=0.1)
    held_out = sum(anchor.held_out for anchor in table.anchors)
    assert (len(table.anchors) - held_out, held_out) == (6, 2)


def test_with_little_time_there_are_fewer_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latency.profiler.visit_seconds", lambda _ms: 1.0)
    table = profile(made("deit", 0), Null(), max_seconds=100.0)
    held_out = sum(anchor.held_out for anchor in table.anchors)
    # 5 rounds of 12 or 13 networks of a second each are what fits into 65 seconds.
    assert 10 <= len(table.anchors) <= 13
    assert held_out >= 2


def test_the_work_of_a_piece_is_that_of_the_textbook() -> None:
    work, (result,) = work_of(nn.Conv2d(3, 8, 3, padding=1), torch.zeros(2, 3, 10, 10))
    assert result.shape == (2, 8, 10, 10)
    # On each axis 10 positions have 3 taps, but for one at either end.
    assert work.flops == 2 * 2 * (3 * 10 - 2) ** 2 * 8 * 3
    assert work.traffic_bytes == 4 * (2 * 3 * 100 + 2 * 8 * 100 + 8 * 3 * 9 + 8)
    assert Peak(flops_per_ms=1e6, bytes_per_ms=1e3).floor_ms(work) == pytest.approx(work.traffic_bytes / 1e3)


def one_block_study() -> Study:
    kind = Kind((("block", "keep"),), Work(flops=1_000_000, traffic_bytes=0))
    return Study(
        model="m",
        model_kwargs={},
        fingerprint="f",
        batch_size=1,
        segments=(Segment("block", "block", is_block=True),),
        vanishing=frozenset({"drop"}),
        blocks={("block", "keep"): 1},
        kinds={kind.key: kind},
        networks=(Network({}, (kind.key,), tuple(row(1)), held_out=False),),
    )


def steady(ms: float) -> list[list[Reading]]:
    return [[Reading(ms, ms)] * 3] * 4


@pytest.mark.parametrize(("took_ms", "believable"), [(1.0, True), (0.3, True), (0.2, False)])
def test_a_piece_quicker_than_its_device_is_rejected(took_ms: float, believable: bool) -> None:
    study = one_block_study()
    (key,) = study.kinds
    alone = Timings({key: steady(took_ms)})
    whole = Timings({REFERENCE: steady(2.0), "network 0": steady(took_ms)})
    peak = Peak(flops_per_ms=1e6, bytes_per_ms=1e6)
    if not believable:
        with pytest.raises(ProfileError, match="its clock or its synchronization cannot be trusted"):
            Table(study, alone, whole, peak=peak)
        return
    table = Table(study, alone, whole, peak=peak)
    (row,) = table.profile(Setting("d", "h", "r 1", "fp32", 1, 1), "measured", 1.0).rows
    assert row.floor_ms == pytest.approx(1.0)
    assert row.efficiency == pytest.approx(1.0 / took_ms)


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "rocm"])
def test_a_gpu_is_waited_for(device: str) -> None:
    absence = known_device(device).absence()
    if absence is not None:
        pytest.skip(absence)
    # Were it not, a reading would be below its floor, and the table refused.
    table = profile(made("basic", 0), open_device(device, Mode(dtype="fp16")), batch_size=64, max_seconds=20.0)
    assert table.setting.device == device
    assert all(row.floor_ms is not None for row in table.rows)
    assert table.baseline_ms > 0


def test_a_study_travels_as_plain_data() -> None:
    bench = Workbench(made("deit", 0), Null(), batch_size=2)
    plan = bench.chain.random_plan(0.5, Random(0))
    study = one_block_study()
    assert Study.from_record(study.to_record()) == study
    bench.network_keys(plan)
    assert {kind.key for kind in bench.kinds.values()} == set(bench.kinds)


def test_other_work_on_the_processor_is_told() -> None:
    study = one_block_study()
    (key,) = study.kinds
    halved = [[Reading(2.0, 1.0)] * 3] * 4
    whole = Timings({REFERENCE: halved, "network 0": steady(1.0)})
    table = Table(study, Timings({key: steady(1.0)}), whole, peak=None)
    conditions = table.profile(Setting("d", "h", "r 1", "fp32", 1, 1), "measured", 1.0).conditions
    assert conditions is not None
    assert conditions.noise == "other work took 50% of the processor"
