"""One suite for every device: a new one inherits it by being registered."""

import pytest
import torch
from torch import nn

from latency.device import DEVICES, Device, UnknownDeviceError, device
from latency.devices import Null, open_device
from latency.devices.null import MS_PER_PARAMETER
from latency.profiler import Workbench
from networks import images_for, made
from pruner.plan import Plan
from pruner.surgery import apply, describe, merge

PLAN = {"blocks.0.mlp": "merge", "blocks.1.attn": "drop", "blocks.2.mlp": "drop"}


@pytest.mark.parametrize("name", DEVICES)
def test_a_network_can_be_run_whole_and_in_pieces(name: str) -> None:
    model = made("deit", 0)
    opened = open_device(name, threads=1)
    bench = Workbench(model, opened, batch_size=2)
    plan = Plan(bench.chain.model, PLAN)
    cut = apply(model, plan)
    cut.set_lambda(0.0)
    programs = [bench.network(plan), opened.load(merge(cut), images_for(model, torch.float32)[:2])]
    programs += [bench.alone(piece.key) for piece in bench.pieces(plan)]
    for program in programs:
        program.run()
        sample = program.sample(2)
        assert sample.wall_ms > 0
        assert sample.cpu_ms >= 0


def test_torch_gives_each_place_weights_of_its_own() -> None:
    opened = open_device("cpu")
    layer = opened.compile(nn.Linear(8, 8), torch.ones(1, 8))
    program = opened.assemble([layer, layer, layer], torch.ones(1, 8))
    places = {parameter.data_ptr() for parameter in program._network.parameters()}  # type: ignore[attr-defined]
    assert len(places) == 6


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_says_what_it_is(name: str) -> None:
    setting = open_device(name, threads=2).setting(batch_size=3)
    assert (setting.device, setting.batch_size, setting.threads) == (name, 3, 2)
    assert setting.hardware
    assert setting.runtime.split()[1][0].isdigit(), "the runtime comes with its version"


@pytest.mark.parametrize("name", DEVICES)
def test_timing_leaves_the_callers_threads_alone(name: str) -> None:
    before = torch.get_num_threads()
    opened = open_device(name, threads=before + 1)
    opened.load(nn.Linear(3, 3), torch.ones(1, 3)).sample(1)
    assert torch.get_num_threads() == before


def test_an_unknown_device_brings_the_known_ones_nearest_first() -> None:
    with pytest.raises(UnknownDeviceError, match="no device is called 'ort_cpu'; nearest: ort-cpu"):
        open_device("ort_cpu")


def test_two_devices_do_not_share_a_name() -> None:
    class Twin(Null):
        name = "null"

    with pytest.raises(ValueError, match="there is a device 'null' already"):
        device(Twin)
    assert DEVICES["null"] is Null


def test_null_costs_are_exact_and_additive() -> None:
    model = made("deit", 0)
    null: Device[float] = Null()
    bench = Workbench(model, null, batch_size=1)
    plan = Plan(bench.chain.model, PLAN)
    cut = apply(model, plan)
    cut.set_lambda(0.0)
    merged = merge(cut)
    expected = sum(parameter.numel() for parameter in merged.parameters()) * MS_PER_PARAMETER
    whole = null.load(merged, images_for(model, torch.float32))
    assert whole.sample(1).wall_ms == bench.network(plan).sample(7).wall_ms == expected
    assert describe(model).counts(plan) == {"keep": 3, "merge": 1, "drop": 2}
