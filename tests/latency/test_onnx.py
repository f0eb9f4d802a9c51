"""Export and joining, judged by a real ONNX Runtime."""

from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from latency.devices.ort import open_session
from latency.errors import ExportError
from latency.export import export_onnx, export_safetensors
from latency.onnx_graph import join, to_onnx
from networks import SHAPES, images_for, made
from pruner.algebra.flow import row
from pruner.choices.plan import Plan
from pruner.models.weights_file import read_weights
from pruner.network.surgery import apply, describe, merge


def merged_network(shape: str, seed: int) -> tuple[nn.Module, nn.Module, Plan]:
    model = made(shape, seed)
    plan = describe(model).random_plan(0.6, Random(seed))
    cut = apply(model, plan)
    cut.set_lambda(0.0)
    return model, merge(cut.eval()), plan


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.grid)])
def test_what_is_exported_computes_the_same(shape: str, seed: int, tmp_path: Path) -> None:
    model, merged, plan = merged_network(shape, seed)
    images = images_for(model, torch.float32)
    parity = export_onnx(merged, tmp_path / "m.onnx", images, plan=plan)
    assert parity.same_top1 == parity.images == len(images)
    session = open_session(str(tmp_path / "m.onnx"), threads=1)
    for batch in (1, 2, 5):
        (logits,) = session.run(None, {"images": images[:batch].numpy()})
        np.testing.assert_allclose(logits, merged(images[:batch]).detach().numpy(), atol=1e-4)
    assert session.get_modelmeta().custom_metadata_map["depthfinder.plan"] == plan.to_json()


def fragments_of(model: nn.Module, plan: Plan, images: Tensor) -> list[onnx.ModelProto]:
    fragments, flowing = [], images
    for piece in apply(model, plan).pieces(plan):
        module = piece.build()
        fragments.append(to_onnx(module, flowing))
        flowing = module(flowing).detach()
    return fragments


def test_fragments_joined_are_the_network() -> None:
    model, merged, plan = merged_network("deit", 0)
    images = images_for(model, torch.float32)
    fragments = fragments_of(model, plan, images)
    joined = join(fragments, row(len(fragments)))
    onnx.checker.check_model(joined, full_check=True)
    session = open_session(joined.SerializeToString(), threads=1)
    (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    # The weights of each place are told apart by thousandths; a wrong graph would be off by far more.
    expected = merged.eval()(images).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=0.05 * np.abs(expected).max())


def test_a_fragment_has_weights_of_its_own_in_every_place() -> None:
    model = made("deit", 0)
    images = images_for(model, torch.float32)
    stem, attention, *_, head = fragments_of(model, Plan(describe(model).model), images)
    joined = join([stem, attention, attention, attention, head], row(5))
    onnx.checker.check_model(joined, full_check=True)
    matrices = [onnx.numpy_helper.to_array(t).tobytes() for t in joined.graph.initializer if len(t.dims) > 1]
    assert len(matrices) > 6
    assert len(set(matrices)) == len(matrices)


def test_the_same_network_exports_to_the_same_bytes(tmp_path: Path) -> None:
    model, merged, plan = merged_network("deit", 1)
    images = images_for(model, torch.float32)
    for name in ("a", "b"):
        export_onnx(merged, tmp_path / f"{name}.onnx", images, plan=plan)
        export_safetensors(merged, tmp_path / f"{name}.safetensors", plan)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    weights = read_weights(tmp_path / "a.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in merged.state_dict().items())


class Counting(nn.Module):
    """Computes something else each time, so that no two runtimes agree about it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x.flatten(1)[:, :4] * float(self.calls)

    def __deepcopy__(self, memo: object) -> "Counting":
        return self


def test_a_network_that_does_not_agree_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="differ by up to"):
        export_onnx(Counting(), tmp_path / "m.onnx", torch.ones(3, 3, 4, 4))
    assert not list(tmp_path.iterdir())
