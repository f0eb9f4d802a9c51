"""Writes a kit, which measures a network on a machine without Depthfinder."""

import dataclasses
import hashlib
import io
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import onnx.external_data_helper
from torch import Tensor, nn

from latency.design import designed_plans
from latency.device import Device
from latency.devices.gpu import NamedGpu, TorchGpu
from latency.devices.null import Null
from latency.devices.ort import OrtDevice
from latency.errors import KitError
from latency.kit.onnx_runner import WEIGHTS
from latency.kit.torch_graph import torch_graph
from latency.mode import Mode
from latency.onnx_graph import join, to_onnx
from latency.pieces import Pieces
from latency.profiler import compile_pieces, study_of
from latency.roofline import Reference, Traffic, square
from latency.study import REFERENCE, TRAFFIC, Study
from latency.table import network_names
from profiles.descriptions import load_description
from profiles.files import write_whole
from pruner.algebra.flow import Wire, row
from pruner.progress import Progress, silent

KIT: Final = "depthfinder.kit/2"
"""The schema of a kit."""
_ROOT: Final = Path(__file__).parent.parent.parent
_TRAVELLING: Final = {
    "torch": ("rounds.py", "hardware.py", "__init__.py", "kit/__init__.py", "kit/runner.py", "kit/torch_runner.py"),
    "onnx": ("rounds.py", "hardware.py", "__init__.py", "kit/__init__.py", "kit/runner.py", "kit/onnx_runner.py"),
}
_NEEDS: Final = {"torch": "torch", "onnx": "onnxruntime"}
_FITTED, _HELD_OUT = 24, 8
_FEW: Final = 1024  # numbers; shorter tensors travel as they are
_ALIGNED: Final = 4096
_RUN: Final = '''"""Measures this kit here: python run.py"""

from pathlib import Path

from latency.kit.runner import main

main(Path(__file__).parent)
'''


def write_kit(
    path: Path,
    model: nn.Module,
    device: type[Device[Any]],
    mode: Mode,
    *,
    batch_size: int,
    max_seconds: float,
    seed: int = 0,
    model_kwargs: Mapping[str, Any] | None = None,
    extra_choices: Collection[str] = (),
    progress: Progress = silent,
) -> None:
    """Writes the kit that measures `model` on a device, as a zip file.

    Args:
        path: Where to write the file (.zip).
        model: The network. It is not changed, and the kit holds none of its weights.
        device: The class of the device, which need not be on this machine.
        mode: How networks are to be run there.
        batch_size: Images per run.
        max_seconds: About how long the kit may measure.
        seed: Seed of the random plans and of the order of measuring.
        model_kwargs: The arguments that `model` was built with.
        extra_choices: Choices that blocks offer on request only, and that are to be measured too.
        progress: Called once, before the pieces are compiled.

    Raises:
        KitError: when a kit cannot hold the network, and for the device `null` and for `torch.compile`.
        UnsupportedModeError: when the device cannot run networks in that mode.
    """
    if mode.compiled or device is Null:
        raise KitError("a kit runs its networks as they are, on a device that is one: not compiled, and not on null")
    device.check_mode(mode)
    progress(0, 1, "compiling")
    kind = "onnx" if issubclass(device, OrtDevice) else "torch"
    packer: _Packer = _OnnxPacker() if kind == "onnx" else _TorchPacker()
    bench = Pieces(model, packer.compile, batch_size, extra_choices)
    designed = designed_plans(bench.chain, _FITTED, _HELD_OUT, seed)
    compile_pieces(bench, designed)
    plans = [(plan, False) for plan in designed.fitted] + [(plan, True) for plan in designed.held_out]
    study = study_of(bench, plans, model_kwargs or {})
    files = packer.pack(bench, study, device.reference_size)
    kit = {
        "schema": KIT,
        "kind": kind,
        "device": device.name,
        "place": getattr(device, "place", "cpu"),
        "provider": getattr(device, "provider", ""),
        "gpu": _gpu(device),
        "mode": dataclasses.asdict(mode),
        "reference_size": device.reference_size,
        "on_processor": device.on_processor,
        "max_seconds": max_seconds,
        "seed": seed,
        "study": study.to_record(),
        **packer.record(bench, study, device.reference_size),
    }
    files["kit.json"] = json.dumps(kit).encode()
    files["run.py"] = _RUN.encode()
    files |= {f"latency/{name}": (_ROOT / "latency" / name).read_bytes() for name in _TRAVELLING[kind]}
    files["README.txt"] = _readme(device, kind, study).encode()
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files["checksums.json"] = json.dumps(checksums, indent=1).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            # A fixed date: the same kit is the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    write_whole(path, packed.getvalue())


class _Packer(ABC):
    """Compiles pieces to what a kit holds instead of them."""

    @abstractmethod
    def compile(self, module: nn.Module, *inputs: Tensor) -> Any:
        """Compiles a module, given examples (B, ...) of its inputs."""

    @abstractmethod
    def pack(self, bench: Pieces, study: Study, size: int) -> dict[str, bytes]:
        """Returns the content of the kit's files of graphs, by name; `size` is the side of the reference's matrices."""

    @abstractmethod
    def record(self, bench: Pieces, study: Study, size: int) -> dict[str, Any]:
        """Returns what kit.json says about the graphs; `pack` has to be called first."""


class _TorchPacker(_Packer):
    """Packs every kind of piece as one graph; a network is a list of the names of graphs."""

    def compile(self, module: nn.Module, *inputs: Tensor) -> dict[str, Any]:
        """Returns the module's operators as plain data."""
        return torch_graph(module, *inputs)

    def pack(self, bench: Pieces, study: Study, size: int) -> dict[str, bytes]:
        """Writes every graph as a JSON file."""
        graphs = {key: bench.fragment(key) for key in study.kinds}
        images = square(size)
        graphs |= {REFERENCE: torch_graph(Reference(size), images), TRAFFIC: torch_graph(Traffic(), images)}
        self._files = {name: f"graphs/{index}.json" for index, name in enumerate(graphs)}
        return {self._files[name]: json.dumps(graph).encode() for name, graph in graphs.items()}

    def record(self, bench: Pieces, study: Study, size: int) -> dict[str, Any]:
        """Lists the graphs, their wires and the input shapes of every program."""
        gauges = {name: _program([name], row(1), [[size, size]]) for name in (REFERENCE, TRAFFIC)}
        kinds = {key: _program([key], bench.route_of_one(key).wires, _shapes(bench.inputs(key))) for key in study.kinds}
        whole = {
            name: _program(network.keys, network.wires, _shapes([bench.images]))
            for name, network in network_names(study).items()
        }
        gauge = {REFERENCE: gauges[REFERENCE]}
        return {"graphs": self._files, "alone": {**gauges, **kinds}, "whole": {**gauge, **whole}}


class _OnnxPacker(_Packer):
    """Packs every kind of piece and every network as an ONNX file; all share one file of weights, made on the
    target."""

    def compile(self, module: nn.Module, *inputs: Tensor) -> onnx.ModelProto:
        """Exports the module as an ONNX model."""
        return to_onnx(module, *inputs)

    def pack(self, bench: Pieces, study: Study, size: int) -> dict[str, bytes]:
        """Writes every piece and every network as an ONNX file without weights."""
        images = square(size)
        models = {
            REFERENCE: to_onnx(Reference(size), images),
            TRAFFIC: to_onnx(Traffic(), images),
            **{key: bench.fragment(key) for key in study.kinds},
        }
        for name, network in network_names(study).items():
            models[name] = join([bench.fragment(key) for key in network.keys], network.wires)
        self._files = {name: f"{index}.onnx" for index, name in enumerate(models)}
        self._weight_bytes = max(_take_weights_out(model) for model in models.values())
        return {f"graphs/{self._files[name]}": model.SerializeToString() for name, model in models.items()}

    def record(self, bench: Pieces, study: Study, size: int) -> dict[str, Any]:
        """Lists the file and the input shapes of every program."""
        shapes = {name: [[size, size]] for name in (REFERENCE, TRAFFIC)}
        shapes |= {key: _shapes(bench.inputs(key)) for key in study.kinds}
        shapes |= {name: _shapes([bench.images]) for name in network_names(study)}
        entries = {name: _program([], [], shape, self._files[name]) for name, shape in shapes.items()}
        whole = (REFERENCE, *network_names(study))
        return {
            "graphs": {},
            "alone": {name: entries[name] for name in (REFERENCE, TRAFFIC, *study.kinds)},
            "whole": {name: entries[name] for name in whole},
            "weight_bytes": self._weight_bytes,
        }


def _program(graphs: Sequence[str], wires: Sequence[Wire], shapes: list[list[int]], file: str = "") -> dict[str, Any]:
    """What kit.json says of a program: the graphs that it runs, or its ONNX file, and the shapes of its inputs."""
    numbers = [dataclasses.astuple(wire) for wire in wires]
    return {"graphs": list(graphs), "wires": numbers, "shapes": shapes, "file": file}


def _shapes(tensors: Sequence[Tensor]) -> list[list[int]]:
    return [list(tensor.shape) for tensor in tensors]


def _take_weights_out(model: onnx.ModelProto) -> int:
    """Replaces every long tensor of `model` by a part of the file of weights; returns the bytes that the file needs."""
    end = 0
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if tensor.data_type != onnx.TensorProto.FLOAT or array.size < _FEW:
            continue
        onnx.external_data_helper.set_external_data(tensor, WEIGHTS, offset=end, length=array.nbytes)
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        end += -(-array.nbytes // _ALIGNED) * _ALIGNED
    return end


def _gpu(device: type[Device[Any]]) -> dict[str, Any] | None:
    """Describes the GPU that the target has to have; None if it needs none."""
    if not issubclass(device, TorchGpu):
        return None
    record: dict[str, Any] = {"platform": device.platform, "arch": "", "matches": [], "title": device.name}
    if issubclass(device, NamedGpu):
        wanted = load_description(device.name)
        record |= {"arch": wanted.arch, "matches": list(wanted.matches), "title": wanted.title}
    return record


def _readme(device: type[Device[Any]], kind: str, study: Study) -> str:
    return (
        f"A kit of Depthfinder: {study.model} for {device.name}, batch {study.batch_size}.\n\n"
        f"On the target, with Python 3.10 or later and {_NEEDS[kind]}:\n\n"
        "    python run.py\n\n"
        "Then carry results.json back and read it in:\n\n"
        "    depthfinder profile --import results.json\n\n"
        "The kit holds graphs and shapes; weights are drawn at random where it runs.\n"
    )
