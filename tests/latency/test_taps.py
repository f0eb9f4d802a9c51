"""What the roofline counts of a convolution is what is multiplied, however small the map."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from latency.devices.ort import OrtCpu
from latency.pieces import Pieces
from latency.profiler import profile
from latency.roofline import work_of
from pruner.models.load import load_model

side = st.integers(1, 4)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    """A convolution of one, two or three axes, transposed or not, of any shape, with an image that it fits on."""
    axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kernel, stride, padding, dilation = (tuple(draw(side) for _ in range(axes)) for _ in range(4))
    padding = tuple(p - 1 for p in padding)
    channels_in, channels_out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    transposed = draw(st.booleans())
    # A result has a pixel at least.
    spans = [(d * (k - 1) - 2 * p, s) for k, s, p, d in zip(kernel, stride, padding, dilation, strict=True)]
    least = [1 + max(0, -(span // s) if transposed else span) for span, s in spans]
    sizes = [draw(st.integers(one, one + 4)) for one in least]
    module = kind[axes - 1 + 3 * transposed](
        channels_in, channels_out, kernel, stride, padding, dilation=dilation, groups=groups, bias=False
    )
    return module, torch.ones(draw(st.integers(1, 2)), channels_in, *sizes)


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_a_convolution_is_counted_tap_by_tap(made: tuple[nn.Module, Tensor]) -> None:
    """With ones for weights and pixels every product is 1, so the results add up to their number."""
    module, image = made
    nn.init.ones_(module.weight)
    work, (result,) = work_of(module, image)
    assert work.flops == 2 * int(result.double().sum())
    # A weight is needed if the results depend on it.
    module(image).sum().backward()
    assert module.weight.grad is not None
    used = int((module.weight.grad != 0).sum())
    assert work.traffic_bytes == 4 * (used + image.numel() + result.numel())


def test_a_3x3_on_one_pixel_is_a_ninth_of_it() -> None:
    work, _ = work_of(nn.Conv2d(512, 512, 3, padding=1, bias=False), torch.zeros(1, 512, 1, 1))
    assert work.flops == 2 * 512 * 512
    assert work.traffic_bytes == 4 * (512 * 512 + 512 + 512)


@pytest.mark.parametrize("sides", [(4, 1), (1, 4), (1, 1)])
def test_of_a_weight_that_is_used_twice_is_needed_what_either_needs(sides: tuple[int, int]) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            """(1, 1, 4, 4) -> (1, 1, 4, 4)"""
            first, second = (self.layer(x[..., :side, :side]) for side in sides)
            both: Tensor = first.mean() + second.mean() + x
            return both

    assert work_of(Twice(), torch.zeros(1, 1, 4, 4))[0].traffic_bytes == 4 * ((1 if sides == (1, 1) else 9) + 16 + 16)


class _Multiplied(TorchDispatchMode):
    """Counts products of convolutions by what they give of ones, and those of matrices by their shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.overloadpacket is torch.ops.aten.convolution:
            image, weight = (torch.ones(one.shape, dtype=torch.float64) for one in args[:2])
            self.flops += 2 * int(func(image, weight, None, *args[3:]).sum())
        elif func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.bmm):
            self.flops += 2 * args[0].numel() * args[1].shape[-1]
        elif func.overloadpacket in (torch.ops.aten.addmm, torch.ops.aten.baddbmm):
            self.flops += 2 * args[1].numel() * args[2].shape[-1]
        return func(*args, **(kwargs or {}))


FAMILIES = ("resnet10t", "mobilenetv2_035", "convnext_atto", "deit_tiny_patch16_224")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", [32, pytest.param(48, marks=pytest.mark.grid), 64])
def test_no_piece_of_a_network_is_said_to_multiply_more_than_it_does(name: str, size: int) -> None:
    kwargs = {"depth": 2} if "deit" in name else {}
    model = load_model(name, img_size=size, num_classes=10, **kwargs)
    multiplied = {}

    def run(module: nn.Module, example: Tensor) -> None:
        with _Multiplied() as counted, torch.no_grad():
            module(example)
        multiplied[id(module)] = counted.flops

    bench = Pieces(model, run, 1)
    for plan in (
        bench.chain.plan({}),
        bench.chain.plan({b.name: b.choices[1] for b in bench.chain.blocks if len(b.choices) > 1}),
    ):
        bench.network_keys(plan)
    assert bench.kinds
    for key, kind in bench.kinds.items():
        assert 0 <= kind.work.flops <= multiplied[id(bench.module(key))]


def test_a_network_whose_maps_shrink_to_a_pixel_is_profiled() -> None:
    """Measured for real: by all of its taps its last blocks would have to take nine times as long."""
    model = load_model("resnet18", img_size=32, layers=(1, 1, 1, 2), num_classes=10)
    table = profile(model, OrtCpu(), max_seconds=3.0)
    assert [row.choice for row in table.rows if row.signature.startswith("resnet.basic 512x1x1:")] == [
        "keep", "merge", "shrink",
    ]  # fmt: skip
    assert all(row.floor_ms is not None for row in table.rows)
