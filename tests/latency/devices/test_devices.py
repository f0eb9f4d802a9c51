"""One suite for every device: a new one inherits it by being registered. Devices that are not here are skipped, and say
why they are not here."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from depthfinder.testing import DeviceSuite
from latency.device import DEVICES, Device, device, open_device
from latency.device_names import DEVICE_NAMES, NAMED_GPUS
from latency.devices import Mode
from latency.devices.null import MS_PER_PARAMETER, Null
from latency.devices.ort import check_provider, open_session
from latency.errors import DeviceMissingError, UnknownDeviceError, UnsupportedModeError
from latency.onnx_graph import to_onnx
from latency.rounds import Pace
from latency.workbench import Workbench
from networks import images_for, made
from profiles.descriptions import description_names, load_description
from pruner.algebra.flow import row
from pruner.choices.plan import Plan
from pruner.network.surgery import apply, describe, merge

PLAN = {"blocks.0.mlp": "merge", "blocks.1.attn": "drop", "blocks.2.mlp": "drop"}
ANYWHERE = ("cpu", "ort-cpu", "null")  # the others need a GPU
TWICE = Pace(runs=2, readings=1, warm=True)


class TestEveryDevice(DeviceSuite):
    """Those that are here; of the others, that they say why they are not."""

    @pytest.fixture(params=[pytest.param(name, marks=() if name in ANYWHERE else pytest.mark.gpu) for name in DEVICES])
    def kind(self, request: pytest.FixtureRequest) -> type[Device[Any]]:
        name: str = request.param
        absence = DEVICES[name].absence()
        if absence is not None:
            assert len(absence) > 20, "why it is not here is said in words"
            with pytest.raises(DeviceMissingError, match=f"{name} is not here"):
                open_device(name)
            pytest.skip(f"{name}: {absence}")
        return DEVICES[name]


@pytest.mark.parametrize("name", ["ort-cpu", "null"])
def test_a_mode_that_is_refused_is_named(name: str) -> None:
    with pytest.raises(UnsupportedModeError, match=f"{name} runs fp32"):
        open_device(name, Mode(dtype="bf16"))
    with pytest.raises(UnsupportedModeError, match="PyTorch's"):
        open_device(name, Mode(compiled=True))


def test_a_compiled_network_is_another_setting() -> None:
    plain, compiled = (open_device("cpu", Mode(compiled=c)).setting(1) for c in (False, True))
    assert plain.differences(compiled) == ["compiled: False there, True here"]
    program = open_device("cpu", Mode(compiled=True)).load(nn.Linear(3, 3), torch.ones(1, 3))
    assert program._network._compiled_call_impl is not None  # type: ignore[attr-defined]


def test_torch_gives_each_place_weights_of_its_own() -> None:
    opened = open_device("cpu")
    layer = opened.compile(nn.Linear(8, 8), torch.ones(1, 8))
    program = opened.assemble([layer, layer, layer], row(3), [torch.ones(1, 8)])
    places = {parameter.data_ptr() for parameter in program._network.parameters()}  # type: ignore[attr-defined]
    assert len(places) == 6


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
    readings = [*whole.visit(TWICE), *bench.program_of(plan).visit(Pace(1, 7, warm=True))]
    assert {reading.wall_ms for reading in readings} == {expected}
    assert describe(model).counts(plan) == {"keep": 3, "merge": 1, "drop": 2}


def see_a_gpu(monkeypatch: pytest.MonkeyPatch, platform: str, name: str, arch: str) -> None:
    """Makes PyTorch say that it was built for a platform and sees a GPU: the properties alone are faked."""
    major, minor = (int(digit) for digit in arch[-2:]) if arch.startswith("sm_") else (9, 0)
    properties = SimpleNamespace(
        name=name, gcnArchName=f"{arch}:sramecc+:xnack-", major=major, minor=minor, multi_processor_count=120
    )
    monkeypatch.setattr(torch.version, "hip", "6.2.41133" if platform == "rocm" else None)
    monkeypatch.setattr(torch.version, "cuda", "12.8" if platform == "cuda" else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _index: properties)


@pytest.mark.parametrize(
    ("platform", "seen", "arch", "here"),
    [
        ("rocm", "AMD Instinct MI100", "gfx908", {"rocm", "mi100"}),
        ("rocm", "Arcturus GL-XL", "gfx908", {"rocm", "mi100"}),
        ("rocm", "AMD Instinct MI210", "gfx90a", {"rocm", "mi210"}),
        ("rocm", "AMD Instinct MI250X", "gfx90a", {"rocm", "mi250x"}),
        ("rocm", "AMD Radeon RX 7900 XTX", "gfx1100", {"rocm"}),
        ("cuda", "NVIDIA A100-PCIE-40GB", "sm_80", {"cuda", "a100"}),
        ("cuda", "NVIDIA A30", "sm_80", {"cuda"}),
        ("cuda", "Tesla T4", "sm_75", {"cuda", "t4"}),
        ("cuda", "NVIDIA L4", "sm_89", {"cuda", "l4"}),
        ("cuda", "NVIDIA L40S", "sm_89", {"cuda"}),
        ("cuda", "NVIDIA H100 80GB HBM3", "sm_90", {"cuda", "h100"}),
        ("cuda", "NVIDIA H200", "sm_90", {"cuda"}),
    ],
)
def test_a_gpu_is_known_by_platform_architecture_and_name(
    monkeypatch: pytest.MonkeyPatch, platform: str, seen: str, arch: str, here: set[str]
) -> None:
    see_a_gpu(monkeypatch, platform, seen, arch)
    gpus = ("cuda", "rocm", *NAMED_GPUS)
    assert {gpu for gpu in gpus if DEVICES[gpu].absence() is None} == here
    for gpu in here:
        setting = open_device(gpu, Mode(dtype="fp16")).setting(1)
        assert setting.hardware == f"{seen} {arch}, 120 units"
        assert setting.runtime.startswith(f"torch {torch.__version__} {platform} ")
    if arch == "gfx90a":
        assert DEVICES["mi100"].absence() == f"the GPU is {seen} (gfx90a); AMD Instinct MI100 is gfx908"


def test_cuda_and_rocm_are_one_code_path() -> None:
    own = {"name", "platform", "absence"}
    for gpu in ("cuda", "rocm", *NAMED_GPUS):
        kind = DEVICES[gpu]
        for method in ("assemble", "compile", "_placed", "_placed_tensor", "runtime", "hardware"):
            definers = [cls for cls in kind.__mro__ if method in vars(cls)]
            assert definers[0].__name__ in ("TorchDevice", "TorchGpu")
        assert {key for key in vars(kind) if not key.startswith("__")} - {"_abc_impl"} <= own


def test_a_device_is_known_by_name_without_loading_what_runs_it() -> None:
    assert list(DEVICES) == list(DEVICE_NAMES)


def test_every_named_gpu_is_described_with_its_sources() -> None:
    assert sorted(NAMED_GPUS) == description_names()
    for gpu in NAMED_GPUS:
        described = load_description(gpu)
        assert dataclasses.asdict(described)
        assert described.sources
        assert DEVICES[gpu].platform == described.runtime  # type: ignore[attr-defined]
        rates = [rate for rate in described.peak_tflops.values() if rate is not None]
        assert set(described.peak_tflops) == {"fp32", "fp32_matrix", "fp16", "bf16"}
        assert all(rate > 1 for rate in rates)
        assert described.memory_gb_s > 100


def test_a_provider_that_fell_back_to_the_processor_is_found_out(tmp_path: Path) -> None:
    model = to_onnx(nn.Linear(3, 3), torch.ones(1, 3)).SerializeToString()
    # This very ONNX Runtime gives the processor to whoever asks for CUDA, with a warning alone, unless told not to.
    with pytest.raises(DeviceMissingError, match="CUDAExecutionProvider cannot run the whole network"):
        open_session(model, 1, "CUDAExecutionProvider")
    quiet = onnxruntime.InferenceSession(model, providers=["CUDAExecutionProvider"])
    with pytest.raises(DeviceMissingError, match="fell back from CUDAExecutionProvider to CPUExecutionProvider"):
        check_provider(quiet.get_providers(), "CUDAExecutionProvider")
    check_provider(quiet.get_providers(), "CPUExecutionProvider")


def test_an_onnx_file_is_measured_as_it_asks_to_be(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    onnx.save(to_onnx(nn.Conv2d(3, 4, 3), torch.ones(1, 3, 8, 9)), path)
    opened = open_device("ort-cpu")
    opened.load_file(path, batch_size=3).run()
    with pytest.raises(UnsupportedModeError, match="cpu runs no ONNX files; ort-cpu does"):
        open_device("cpu").load_file(path, batch_size=3)
    fixed = onnx.load(path)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(fixed, path)
    with pytest.raises(UnsupportedModeError, match="takes batches of 2, not of 3: --batch-size 2"):
        opened.load_file(path, batch_size=3)
    fixed.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(fixed, path)
    with pytest.raises(UnsupportedModeError, match="leaves the size of its images open"):
        opened.load_file(path, batch_size=2)
