"""The tests of a device: it runs networks whole and in pieces, in the modes that it has, and names its hardware."""

from typing import Any

import torch
from torch import nn

from depthfinder.testing.samples import small_network, some_images
from latency.device import Device
from latency.errors import UnsupportedModeError
from latency.mode import Dtype, Mode
from latency.rounds import Pace
from latency.workbench import Workbench
from pruner.choices.plan import Plan
from pruner.network.surgery import apply, merge

_PLAN = {"blocks.0.mlp": "merge", "blocks.1.attn": "drop", "blocks.2.mlp": "drop"}
_TWICE = Pace(runs=2, readings=1, warm=True)
_DTYPES: tuple[Dtype, ...] = ("fp32", "fp16", "bf16")


class DeviceSuite:
    """Tests a device that is here (`kind.absence() is None`). The fixture `kind` gives its class.

    Example:
        >>> from latency.devices.null import Null
        >>> DeviceSuite().test_it_says_what_it_is(Null)
    """

    def test_a_network_can_be_run_whole_and_in_pieces(self, kind: type[Device[Any]]) -> None:
        """The merged network, the same network joined from its pieces, and each piece alone all run."""
        model, opened = small_network(), kind()
        bench = Workbench(model, opened, batch_size=2)
        plan = Plan(bench.chain.model, _PLAN)
        cut = apply(model, plan)
        cut.set_lambda(0.0)
        programs = [bench.program_of(plan), opened.load(merge(cut), some_images())]
        programs += [bench.alone(key) for key in bench.network_keys(plan)]
        for program in programs:
            program.run()
            (reading,) = program.visit(_TWICE)
            assert reading.wall_ms > 0
            assert reading.cpu_ms >= 0

    def test_every_mode_that_it_has_runs_and_the_others_are_refused(self, kind: type[Device[Any]]) -> None:
        """Every mode that the device has runs; another raises `UnsupportedModeError` before anything is run."""
        for dtype in _DTYPES:
            mode = Mode(dtype=dtype, channels_last=kind.has_layouts)
            if dtype in kind.dtypes:
                opened = kind(mode)
                opened.load(small_network(), some_images()).run()
                setting = opened.setting(2)
                assert (setting.dtype, setting.channels_last) == (dtype, kind.has_layouts)
            else:
                assert _is_refused(kind, mode)
        if not kind.has_layouts:
            assert _is_refused(kind, Mode(channels_last=True))
            assert _is_refused(kind, Mode(compiled=True))

    def test_it_says_what_it_is(self, kind: type[Device[Any]]) -> None:
        """The setting has the device's name, its hardware, and its runtime with a version."""
        setting = kind(Mode(threads=2)).setting(batch_size=3)
        assert (setting.device, setting.batch_size, setting.threads) == (kind.name, 3, 2)
        assert setting.hardware
        assert setting.runtime.split()[1][0].isdigit()

    def test_timing_leaves_the_callers_threads_alone(self, kind: type[Device[Any]]) -> None:
        """The number of torch's threads is the same after timing, however many the device uses."""
        before = torch.get_num_threads()
        kind(Mode(threads=before + 1)).load(nn.Linear(3, 3), torch.ones(1, 3)).visit(_TWICE)
        assert torch.get_num_threads() == before


def _is_refused(kind: type[Device[Any]], mode: Mode) -> bool:
    try:
        kind(mode)
    except UnsupportedModeError:
        return True
    return False
