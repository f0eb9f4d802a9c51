"""Weights from the files that people have, made with torch.save and safetensors, into small networks."""

import argparse
import copy
import functools
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from latency.export import export_safetensors
from networks import SHAPES, images_for, made
from pruner.choices.plan import Plan
from pruner.errors import CheckpointError
from pruner.models.load import load_model, load_model_and_source
from pruner.models.weights_fit import LoadedWeights, fit_weights
from pruner.network.surgery import apply, merge

State = dict[str, Tensor]


def opened(shape: str, path: Path, **more: Any) -> tuple[nn.Module, LoadedWeights]:
    entry, kwargs = SHAPES[shape]
    torch.manual_seed(77)
    model, loaded = load_model_and_source(entry, checkpoint=path, **(kwargs | more))
    assert loaded is not None
    return model, loaded


@functools.cache
def _made(shape: str) -> State:
    return made(shape, 3).state_dict()


def state_of(shape: str) -> State:
    return {name: tensor.clone() for name, tensor in _made(shape).items()}


def same(model: nn.Module, state: State) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def changed(state: State) -> State:
    return {name: tensor + 1 for name, tensor in state.items()}


@pytest.fixture
def state() -> State:
    return state_of("deit")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


@pytest.mark.parametrize("shape", ["deit", "distilled", "bottleneck, deep stem", "inverted residual", "convnext"])
@pytest.mark.parametrize("suffix", ["safetensors", "pth.tar"])
def test_a_plain_file_is_taken_as_it_is(tmp_path: Path, shape: str, suffix: str) -> None:
    state = state_of(shape)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    model, loaded = opened(shape, path)
    assert same(model, state)
    assumed = {"deit": "positions taken for a grid of 4x4 (say otherwise with --checkpoint-img-size)"}
    positions = assumed.get(shape.replace("distilled", "deit"), "")
    assert loaded == LoadedWeights(str(path), tensors=len(state), new_head=False, positions=positions)
    assert not model.training


def test_a_wrapper_within_is_seen_through(path: Path, state: State) -> None:
    for key in ("state_dict", "model", "model_state", "module"):
        torch.save({"epoch": 3, key: state}, path)
        assert same(opened("deit", path)[0], state), key
    torch.save({"module": {"model": {"state_dict": state}}}, path)
    assert same(opened("deit", path)[0], state)


def timms_own(state: State) -> dict[str, Any]:
    """As timm's training script leaves it."""
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    arguments = argparse.Namespace(model="deit_tiny_patch16_224", lr=0.1, betas=None)
    return {
        "epoch": 3,
        "arch": "deit_tiny_patch16_224",
        "args": arguments,
        "optimizer": optimizer,
        "version": 2,
        "state_dict": state,
        "state_dict_ema": changed(state),
        "metric": 71.3,
    }


def test_a_training_checkpoint_of_timm_gives_its_average(path: Path, state: State) -> None:
    torch.save(timms_own(state), path)
    model, loaded = opened("deit", path)
    assert loaded.ema
    assert "EMA" in loaded.text
    assert same(model, changed(state))


def test_the_caller_chooses_which_weights(path: Path, state: State) -> None:
    torch.save({"model": state, "model_ema": changed(state)}, path)
    raw, loaded = opened("deit", path, weights="raw")
    assert not loaded.ema
    assert same(raw, state)
    assert same(opened("deit", path, weights="ema")[0], changed(state))
    torch.save({"model": state}, path)
    with pytest.raises(CheckpointError, match="no EMA weights"):
        opened("deit", path, weights="ema")
    torch.save({"model_ema": state}, path)
    with pytest.raises(CheckpointError, match=r"no weights under .* but 'model_ema'"):
        opened("deit", path, weights="raw")


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "network.", "backbone.", "module._orig_mod.model."]
)
def test_prefixes_of_wrappers_are_taken_off(path: Path, state: State, prefix: str) -> None:
    torch.save({"state_dict": prefixed(state, prefix)}, path)
    model, loaded = opened("deit", path)
    assert loaded.stripped_prefix == prefix
    assert repr(prefix) in loaded.text
    assert same(model, state)


def test_what_lies_outside_the_wrapper_is_no_hindrance(path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(made("deit", 3))
    torch.save({"model_ema": averaged.state_dict()}, path)
    model, loaded = opened("deit", path)
    assert (loaded.stripped_prefix, loaded.ema) == ("module.", True)
    assert same(model, averaged.module.state_dict())


def test_a_head_beside_a_backbone_is_taken(path: Path, state: State) -> None:
    wrapped = {name if name.startswith("head.") else f"backbone.{name}": tensor for name, tensor in state.items()}
    torch.save(wrapped, path)
    model, loaded = opened("deit", path)
    assert not loaded.new_head
    assert same(model, state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_the_models(path: Path, dtype: torch.dtype) -> None:
    source = made("inverted residual", 3).to(dtype)
    torch.save(source.state_dict(), path)
    model, _ = opened("inverted residual", path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert same(model, {name: t.float() if t.is_floating_point() else t for name, t in source.state_dict().items()})


@pytest.mark.parametrize(
    ("shape", "head"),
    [
        ("deit", ["head"]),
        ("distilled", ["head", "head_dist"]),
        ("basic", ["fc"]),
        ("inverted residual", ["classifier"]),
        ("convnext", ["head.fc"]),
    ],
)
def test_a_head_for_other_classes_stays_new(path: Path, shape: str, head: list[str]) -> None:
    entry, kwargs = SHAPES[shape]
    state = state_of(shape)
    torch.save(state, path)
    torch.manual_seed(77)
    drawn = load_model(entry, **(kwargs | {"num_classes": 7})).state_dict()
    model, loaded = opened(shape, path, num_classes=7)
    new = {f"{module}.{leaf}" for module in head for leaf in ("weight", "bias")}
    assert loaded.new_head
    assert "new and untrained" in loaded.text
    assert loaded.tensors == len(state) - len(new)
    assert same(model, state | {name: drawn[name] for name in new})


def test_a_file_without_a_head_leaves_a_new_one(path: Path, state: State) -> None:
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith("head.")}, path)
    assert opened("deit", path)[1].new_head


def test_a_network_without_a_head_needs_none(path: Path, state: State) -> None:
    torch.save(state, path)
    model, loaded = opened("deit", path, num_classes=0)
    assert not loaded.new_head
    assert same(model, state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_position_embeddings_take_the_size_of_the_images(path: Path, dtype: torch.dtype) -> None:
    state = {name: tensor.to(dtype) for name, tensor in state_of("deit").items()}
    state["pos_embed"][:, 1:] = torch.arange(4).repeat_interleave(4)[None, :, None]  # the row of each of the 4 x 4
    torch.save(state, path)
    model, loaded = opened("deit", path, img_size=32)
    assert loaded.resized == ("pos_embed",)
    assert not loaded.new_head
    grid = model.state_dict()["pos_embed"][0, 1:].reshape(8, 8, -1)
    assert torch.allclose(grid, grid[:, :1], atol=1e-3), "rows stay rows"
    assert (grid[1:, 0] > grid[:-1, 0]).all(), "from the first to the last"
    assert torch.equal(model.state_dict()["pos_embed"][0, 0], state["pos_embed"][0, 0].float())
    model(images_for(model, torch.float32))


def test_the_names_of_the_first_publication_are_understood(path: Path) -> None:
    state = state_of("convnext, channels last")
    theirs = {}
    for name, tensor in state.items():
        name = name.replace("stem.", "downsample_layers.0.").replace(".downsample.", ".").replace(".blocks.", ".")
        name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv").replace("head.norm", "norm")
        theirs[name.replace("head.fc", "head")] = tensor
    for stage in (1, 2, 3):
        for name in [name for name in theirs if name.startswith((f"stages.{stage}.0.w", f"stages.{stage}.1.w"))]:
            theirs[name.replace("stages", "downsample_layers")] = theirs.pop(name)
        for name in [name for name in theirs if name in (f"stages.{stage}.0.bias", f"stages.{stage}.1.bias")]:
            theirs[name.replace("stages", "downsample_layers")] = theirs.pop(name)
    torch.save({"model": theirs}, path)
    assert not theirs.keys() & state.keys() - {name for name in state if name.endswith("gamma")}
    model, loaded = opened("convnext, channels last", path)
    assert not loaded.new_head
    assert same(model, state)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(path: Path, state: State, value: float) -> None:
    for name in ("blocks.1.mlp.fc1.weight", "blocks.2.norm1.bias"):
        state[name].view(-1)[-1] = value
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"'blocks\.1\.mlp\.fc1\.weight' holds NaN or infinite values"):
        opened("deit", path)


def test_codes_of_a_quantized_network_are_refused(path: Path, state: State) -> None:
    state["head.weight"] = state["head.weight"].to(torch.int8)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"'head\.weight' is not made of plain floating-point numbers"):
        opened("deit", path)


MISFITS: dict[str, tuple[Callable[[State], Any], str]] = {
    "deeper": (
        lambda s: s | {name.replace("s.2.", "s.3."): t for name, t in s.items() if "blocks.2." in name},
        r"12 unexpected: 'blocks\.3\.norm1\.weight', .*, \.\.\.\. It seems to be of a deeper or shallower network",
    ),
    "shallower": (
        lambda s: {name: t for name, t in s.items() if "blocks.2." not in name},
        r"12 missing: 'blocks\.2\.norm1\.weight', .*, \.\.\.\. It seems to be of a deeper or shallower network",
    ),
    "wider": (
        lambda s: s | {"blocks.0.mlp.fc1.weight": torch.zeros(5, 24)},
        r"1 of another shape: 'blocks\.0\.mlp\.fc1\.weight' \(5, 24\) not \(96, 24\)\. .* of another width",
    ),
    "another architecture": (lambda s: state_of("basic"), "It seems to be of another architecture"),
    "another architecture, as it says": (
        lambda s: {"arch": "resnet\x1b[31m", "state_dict": state_of("basic")},
        r"it is of 'resnet\\x1b\[31m', and the model is 'deit_tiny_patch16_224'",
    ),
    "an unknown prefix": (lambda s: prefixed(s, "student.net."), r"'student\.net\.' before them: take that off"),
    "too few patches": (lambda s: s | {"pos_embed": torch.zeros(1, 16, 24)}, r"its 15 positions are of \(1x15, 3x5\)"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_refused_and_explained(path: Path, state: State, case: str) -> None:
    change, message = MISFITS[case]
    torch.save(change(state), path)
    with pytest.raises(CheckpointError, match=f"does not fit the model: .*{message}"):
        opened("deit", path)


def test_a_misfit_leaves_no_half_loaded_network(path: Path, state: State) -> None:
    model = made("deit", 5)
    before = copy.deepcopy(model.state_dict())
    state["norm.bias"][0] = float("nan")
    torch.save(state, path)
    with pytest.raises(CheckpointError):
        fit_weights(model, path)
    assert same(model, before)


def test_a_merged_network_is_known_as_one(tmp_path: Path) -> None:
    model = made("basic", 0)
    plan = Plan("resnet18")
    cut = apply(model, plan)
    cut.set_lambda(0.0)
    export_safetensors(merge(cut), tmp_path / "merged.safetensors", plan)
    with pytest.raises(CheckpointError, match=r"merged network.*df\.load_merged"):
        opened("basic", tmp_path / "merged.safetensors")


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


UNREADABLE: dict[str, tuple[str, Callable[[State], bytes], str]] = {
    "empty": ("a.pth", lambda s: b"", "is empty"),
    "empty safetensors": ("a.safetensors", lambda s: b"", "is empty"),
    "truncated safetensors": ("a.safetensors", lambda s: truncated(save(s)), "cannot be read as weights"),
    "a lying header": (
        "a.safetensors",
        lambda s: save({"w": torch.ones(4)}).replace(b"[0,16]", b"[0,99]"),
        "cannot be read as weights",
    ),
    "a huge header": ("a.safetensors", lambda s: b"\xff" * 7 + b"\x7f{}", "cannot be read as weights"),
    "no safetensors within": ("a.safetensors", lambda s: save({}), "holds no weights: its table is empty"),
    "text": ("a.pth", lambda s: b"404: not found", "cannot be read as weights"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_weights_file_is_refused(tmp_path: Path, state: State, case: str) -> None:
    name, content, message = UNREADABLE[case]
    (tmp_path / name).write_bytes(content(state))
    with pytest.raises(CheckpointError, match=message):
        opened("deit", tmp_path / name)


def test_a_truncated_torch_file_is_refused(path: Path, state: State) -> None:
    torch.save(state, path)
    path.write_bytes(truncated(path.read_bytes()))
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        opened("deit", path)


@pytest.mark.parametrize("name", ["folder", "folder.safetensors"])
def test_a_directory_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match="is a directory; name the file in it"):
        opened("deit", tmp_path / name)


def endless() -> dict[str, Any]:
    table: dict[str, Any] = {}
    table["model"] = table
    return table


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "its table is empty"),
        ({"epoch": 3, "config": {"lr": 1}}, "but 'epoch', 'config'"),
        ({"state_dict": {}}, "holds no weights"),
        ([torch.ones(2)], "a list is not a table of tensors"),
        (endless(), "holds no weights"),
    ],
)
def test_a_file_without_tensors_is_refused(path: Path, content: Any, message: str) -> None:
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        opened("deit", path)


class Canary:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("place", ["beside", "in the arguments", "bare"])
def test_code_in_a_checkpoint_never_runs(tmp_path: Path, path: Path, state: State, place: str) -> None:
    trace = tmp_path / "it-ran"
    canary = Canary(trace)
    if place == "bare":
        path.write_bytes(pickle.dumps(canary, protocol=2))
    else:
        args = canary if place == "beside" else argparse.Namespace(model=canary)
        torch.save({"state_dict": state, "args": args}, path)
    with pytest.raises(CheckpointError, match=r"holds more than tensors .*safetensors\.torch\.save_file") as error:
        opened("deit", path)
    assert "weights_only" not in str(error.value), "nobody is told to read it unsafely"
    assert not trace.exists()
    torch.load(path, weights_only=False) if place != "bare" else pickle.loads(path.read_bytes())
    assert trace.exists(), "the canary is dead: the test would show nothing"


def test_a_whole_pickled_network_is_refused_with_a_way_out(path: Path) -> None:
    torch.save(made("deit", 0), path)
    with pytest.raises(CheckpointError, match=r"VisionTransformer.*trust it.*save_file"):
        opened("deit", path)


def test_the_shipped_weights_tell_where_they_are_from() -> None:
    model, loaded = load_model_and_source("deit_digits", pretrained=True)
    assert loaded is not None
    assert loaded.source.endswith("deit_digits.safetensors")
    assert (loaded.tensors, loaded.new_head) == (len(model.state_dict()), False)
    _, other = load_model_and_source("deit_digits", pretrained=True, num_classes=7)
    assert other is not None
    assert other.new_head
    assert load_model_and_source("deit_digits")[1] is None


def test_a_checkpoint_goes_before_the_published_weights(path: Path, state: State) -> None:
    """So that nothing is downloaded for it."""
    torch.save(state, path)
    model, loaded = opened("deit", path, pretrained=True)
    assert loaded.source == str(path)
    assert same(model, state)


_FROM_THE_HUB = """
import json
from pruner.errors import CheckpointError
from pruner.models.load import load_model_and_source

told = {}
for classes in (1000, 7):
    model, loaded = load_model_and_source("test_vit", pretrained=True, num_classes=classes)
    weights = model.state_dict()
    told[classes] = loaded.source, loaded.new_head, loaded.tensors, float(weights["norm.bias"].sum())
try:
    load_model_and_source("test_resnet", pretrained=True)
except CheckpointError as error:
    told["absent"] = str(error)
print(json.dumps(told))
"""


def test_published_weights_tell_of_themselves_and_of_a_new_head(tmp_path: Path) -> None:
    """From the hub's own cache, without a network; what is not in it cannot be had."""
    model = load_model("test_vit")
    nn.init.ones_(model.get_parameter("norm.bias"))
    there = tmp_path / "hub" / "models--timm--test_vit.r160_in1k"
    (there / "refs").mkdir(parents=True)
    (there / "refs" / "main").write_text("0" * 40)
    (there / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(model.state_dict(), there / "snapshots" / ("0" * 40) / "model.safetensors")
    environment = os.environ | {
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", _FROM_THE_HUB], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    width, tensors = len(model.get_parameter("norm.bias")), len(model.state_dict())
    assert told["1000"] == ["hub timm/test_vit.r160_in1k", False, tensors, width]
    assert told["7"] == ["hub timm/test_vit.r160_in1k", True, tensors - 2, width]
    assert "the pretrained weights of test_resnet could not be had" in told["absent"]
    assert "--checkpoint" in told["absent"]
