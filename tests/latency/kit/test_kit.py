"""A kit, carried to a bare environment: a process that has torch or onnxruntime, and nothing of ours but the kit."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from latency.devices import known_device
from latency.devices.torch_device import TorchDevice
from latency.errors import KitError
from latency.kit.reader import import_results
from latency.kit.torch_graph import torch_graph
from latency.kit.torch_runner import TorchRunner
from latency.kit.writer import write_kit
from latency.mode import Mode
from networks import images_for, made
from profiles.errors import ProfileError
from profiles.profile import Profile
from pruner.choices.plan import Plan
from pruner.network.surgery import apply, describe, merge

# Refuses every import that the target might not have, and then runs the file as a user does.
BARE = """
import runpy, sys
refused = {"profiles", "pruner", "search", "depthfinder", "timm", "onnx", "scipy", "optuna", "rich", *sys.argv[2:]}
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is not on the target")
sys.meta_path.insert(0, Bare())
sys.path.insert(0, "")
sys.argv = ["run.py"]
runpy.run_path("run.py", run_name="__main__")
"""


def packed(folder: Path, device: str, model: nn.Module, mode: Mode | None = None) -> Path:
    write_kit(folder / "kit.zip", model, known_device(device), mode or Mode(), batch_size=2, max_seconds=0.5)
    with zipfile.ZipFile(folder / "kit.zip") as archive:
        archive.extractall(folder / "target")
    return folder / "target"


def run(target: Path, *refused: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", BARE, "bare", *refused]
    return subprocess.run(words, cwd=target, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("device", "other"), [("cpu", "onnxruntime"), ("ort-cpu", "torch")])
def test_a_kit_is_run_in_a_bare_environment_and_read_back(tmp_path: Path, device: str, other: str) -> None:
    model = made("deit", 0)
    target = packed(tmp_path, device, model)
    done = run(target, other)
    assert done.returncode == 0, done.stderr
    assert "depthfinder profile --import results.json" in done.stdout
    found = import_results(target / "results.json")
    chain = describe(model)
    assert (found.origin, found.fingerprint, found.setting.device) == ("imported", chain.fingerprint, device)
    assert all(row.origin == "imported" for row in found.rows)
    assert found.setting.batch_size == 2
    assert len(found.anchors) == 32
    everything_merged = Plan(chain.model, {b.name: "merge" for b in chain.blocks if "merge" in b.choices})
    assert 0 < found.latency_ms(everything_merged) < found.baseline_ms * 2
    found.save(tmp_path / "profile.json")
    check_what_is_refused(tmp_path, target, found)


def check_what_is_refused(tmp_path: Path, target: Path, found: Profile) -> None:
    results = target / "results.json"
    text = results.read_text()
    altered = tmp_path / "altered.json"
    for change, message in (
        (text[: len(text) // 2], "is not whole"),
        (text.replace(found.setting.hardware, "another"), "was altered after it was measured"),
        (text.replace("depthfinder.results/1", "depthfinder.results/9"), "or of another version"),
        ("[]", "holds no results of a kit"),
    ):
        altered.write_text(change)
        with pytest.raises(ProfileError, match=message):
            import_results(altered)
    with pytest.raises(ProfileError, match="there are no results"):
        import_results(tmp_path / "none.json")
    (target / "kit.json").write_text((target / "kit.json").read_text().replace('"seed": 0', '"seed": 1'))
    done = run(target)
    assert done.returncode == 1
    assert "kit.json is not as it was packed" in done.stderr


def test_a_kit_for_a_gpu_runs_nowhere_else(tmp_path: Path) -> None:
    target = packed(tmp_path, "mi100", made("deit", 0), Mode(dtype="fp16", channels_last=True))
    done = run(target)
    assert done.returncode == 1
    assert "this kit is for mi100: torch" in done.stderr
    assert not (target / "results.json").exists()
    kit = json.loads((target / "kit.json").read_text())
    assert kit["gpu"] == {"platform": "rocm", "arch": "gfx908", "matches": [], "title": "AMD Instinct MI100"}


def test_a_kit_holds_no_weights(tmp_path: Path) -> None:
    target = packed(tmp_path, "ort-cpu", made("deit", 0))
    secret = made("deit", 0).blocks[0].mlp.fc1.weight.detach().numpy().tobytes()  # type: ignore[union-attr,index]
    for path in target.rglob("*.onnx"):
        assert secret[:64] not in path.read_bytes()


def test_the_same_kit_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_kit(tmp_path / name, made("deit", 0), known_device("cpu"), Mode(), batch_size=1, max_seconds=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("shape", ["distilled", "non-square", "grouped", "inverted residual", "convnext"])
def test_a_graph_computes_what_its_module_does(shape: str, tmp_path: Path) -> None:
    model = made(shape, 0)
    check_graph(model, images_for(model, torch.float32)[:2], tmp_path)


def test_a_graph_carries_a_network_that_thins_its_tokens(tmp_path: Path) -> None:
    model = made("deit", 0)
    cut = apply(model, Plan(describe(model).model, {"blocks.0.attn": "narrow", "blocks.1.attn": "thin"}))
    cut.set_lambda(0.0)
    check_graph(merge(cut), images_for(model, torch.float32)[:2], tmp_path)


def check_graph(model: nn.Module, images: torch.Tensor, tmp_path: Path) -> None:
    graph = json.loads(json.dumps(torch_graph(model, images)))
    kit = {"mode": vars(Mode()), "place": "cpu", "gpu": None, "graphs": {}}
    runner = TorchRunner(kit, tmp_path)
    drawn = [tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()]
    by_shape = iter(given(graph, model, images, drawn))
    runner._weight = lambda record: next(by_shape)  # type: ignore[method-assign]
    runner._graphs = {"whole": graph}
    program = runner.program({"graphs": ["whole"], "wires": [[[0], [1], [0]]], "shapes": [list(images.shape)]})
    (part,) = program._parts  # type: ignore[attr-defined]
    with torch.no_grad():
        torch.testing.assert_close(part(images), [model.eval()(images)])
        torch.testing.assert_close(part(images), [model.eval()(images)])


def given(graph: object, model: nn.Module, images: torch.Tensor, drawn: list[torch.Tensor]) -> list[torch.Tensor]:
    """The module's own weights in the order in which its graph asks for them."""
    exported = torch.export.export(model.eval(), (images,), strict=False)
    signature = exported.graph_signature
    found = []
    for node in exported.graph.nodes:
        if node.name in {**signature.inputs_to_parameters, **signature.inputs_to_buffers}:
            name = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}[node.name]
            found.append(exported.state_dict[name] if name in exported.state_dict else exported.constants[name])
        elif node.name in signature.inputs_to_lifted_tensor_constants:
            found.append(exported.constants[signature.inputs_to_lifted_tensor_constants[node.name]])
    return found


def test_a_kit_calls_nothing_but_atens_operators(tmp_path: Path) -> None:
    graph = {"slots": 2, "inputs": [0], "outputs": [1], "weights": []}
    graph["steps"] = [{"op": "os.system.default", "args": ["true"], "kwargs": {}, "slot": 1, "last": []}]  # type: ignore[assignment]
    runner = TorchRunner({"mode": vars(Mode()), "place": "cpu", "gpu": None, "graphs": {}}, tmp_path)
    runner._graphs = {"bad": graph}
    with pytest.raises(SystemExit, match=r"os\.system\.default, which is not one of aten's"):
        runner.program({"graphs": ["bad"], "wires": [[[0], [1], [0]]], "shapes": [[1]]})


def test_what_kits_have_not_is_refused(tmp_path: Path) -> None:
    for device, mode in (("null", Mode()), ("cpu", Mode(compiled=True))):
        with pytest.raises(KitError, match="a kit runs its networks as they are"):
            packed(tmp_path, device, made("deit", 0), mode)
    assert issubclass(known_device("mi100"), TorchDevice)
