"""Runs a kit's graphs with PyTorch, on the processor or a GPU; this file is packed into kits."""

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latency import hardware
from latency.rounds import Pace, Program, Reading

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_SPREAD = 0.05  # of random weights: neither vanishes nor overflows over the depth of a network
Graph = Mapping[str, Any]
"""A module as plain data, as `latency/kit/torch_graph.py` makes it."""


class TorchRunner:
    """Makes programs of a kit's graphs, which are lists of aten operators with the shapes of their weights."""

    def __init__(self, kit: Mapping[str, Any], folder: Path) -> None:
        """Reads the graphs and checks the GPU.

        Args:
            kit: The content of the kit's kit.json.
            folder: The unpacked kit.

        Raises:
            SystemExit: when the kit is for a GPU that this machine does not have.
        """
        self._graphs = {name: json.loads((folder / file).read_text()) for name, file in kit["graphs"].items()}
        mode = kit["mode"]
        self._place, self._threads = str(kit["place"]), int(mode["threads"])
        self._dtype, self._channels_last = _DTYPES[mode["dtype"]], bool(mode["channels_last"])
        wanted = kit["gpu"]
        if wanted:
            wrong = hardware.gpu_absence(wanted["platform"])
            if not wrong and wanted["arch"]:
                wrong = hardware.other_gpu(wanted["arch"], wanted["matches"], wanted["title"])
            if wrong:
                raise SystemExit(f"this kit is for {kit['device']}: {wrong}")

    @property
    def hardware(self) -> str:
        """The name of the GPU or the processor."""
        return hardware.gpu() if self._place == "cuda" else hardware.processor()

    @property
    def runtime(self) -> str:
        """Name and version of the runtime."""
        base = hardware.gpu_runtime() if self._place == "cuda" else f"torch {torch.__version__}"
        return f"{base} graphs"

    def program(self, entry: Mapping[str, Any]) -> Program:
        """Builds the program of an entry of the kit.

        Args:
            entry: `graphs` names the graphs to run in order, each with random weights of its own. `wires` says of each
                which of the flowing tensors it takes, which it gives, and which nothing behind it takes, by numbers.
                `shapes` are the shapes of the tensors that enter, which have the first numbers, from 0 on.
        """
        parts = [_Compiled(self._graphs[name], self._weight, self._place) for name in entry["graphs"]]
        inputs = [self._placed(torch.rand(*shape)) for shape in entry["shapes"]]
        return _GraphProgram(parts, entry["wires"], inputs, self._threads)

    def _weight(self, record: Mapping[str, Any]) -> Tensor:
        if "values" in record:
            return torch.tensor(record["values"], dtype=getattr(torch, record["dtype"])).to(self._place)
        return self._placed(torch.randn(record["shape"]) * _SPREAD)

    def _placed(self, tensor: Tensor) -> Tensor:
        placed = tensor.to(self._place, self._dtype)
        if self._channels_last and placed.dim() == 4:
            placed = placed.contiguous(memory_format=torch.channels_last)
        return placed


class _Compiled:
    """A graph with its operators looked up and its weights made."""

    def __init__(self, graph: Graph, weight: Callable[[Mapping[str, Any]], Tensor], place: str) -> None:
        self.values: list[Any] = [None] * graph["slots"]
        for record in graph["weights"]:
            self.values[record["slot"]] = weight(record)
        self._inputs, self._outputs = graph["inputs"], graph["outputs"]
        self._steps = [
            (
                _operator(step["op"]),
                _read(step["args"], place),
                _read(step["kwargs"], place),
                step["slot"],
                step["last"],
            )
            for step in graph["steps"]
        ]

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        values = self.values
        for slot, x in zip(self._inputs, inputs, strict=True):
            values[slot] = x
        for function, args, kwargs, slot, last in self._steps:
            values[slot] = function(*_fill(args, values), **{name: _fill(a, values) for name, a in kwargs.items()})
            for done in last:
                values[done] = None
        results: list[Tensor] = [values[slot] for slot in self._outputs]
        for slot in (*self._outputs, *self._inputs):
            values[slot] = None
        return results


class _GraphProgram(Program):
    def __init__(
        self, parts: Sequence[_Compiled], wires: Sequence[Sequence[Any]], inputs: Sequence[Tensor], threads: int
    ) -> None:
        self._parts, self._wires, self._inputs, self._threads = parts, wires, inputs, threads

    def visit(self, pace: Pace) -> list[Reading]:
        """Takes a few readings in a row, with the kit's number of threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                return super().visit(pace)
        finally:
            torch.set_num_threads(before)

    def run(self) -> None:
        """Runs the graphs once and waits for the GPU, if there is one."""
        with torch.inference_mode():
            flowing = dict(enumerate(self._inputs))
            for part, (takes, gives, done) in zip(self._parts, self._wires, strict=True):
                given = part(*(flowing[number] for number in takes))
                for number in done:
                    del flowing[number]
                flowing.update(zip(gives, given, strict=True))
            if self._inputs[0].is_cuda:
                torch.cuda.synchronize()


class _Slot(int):
    """The number of a slot; among arguments it stands for the value in that slot."""


def _operator(name: str) -> Callable[..., Any]:
    """Returns the operator of a name such as 'aten.linear.default', or 'getitem'; a kit can call nothing else."""
    if name == "getitem":
        return operator.getitem
    space, packet, overload = name.split(".")
    if space != "aten":
        raise SystemExit(f"this kit asks for the operator {name}, which is not one of aten's")
    found: Callable[..., Any] = getattr(getattr(torch.ops.aten, packet), overload)
    return found


def _read(argument: Any, place: str) -> Any:
    """Reads an argument from JSON, in which slots, dtypes and devices are marked as such."""
    if isinstance(argument, list):
        return [_read(one, place) for one in argument]
    if not isinstance(argument, dict):
        return argument
    if "slot" in argument:
        return _Slot(argument["slot"])
    if "torch" in argument:
        return getattr(torch, argument["torch"])
    if "place" in argument:
        return torch.device(place)
    return {name: _read(one, place) for name, one in argument.items()}


def _fill(argument: Any, values: Sequence[Any]) -> Any:
    if isinstance(argument, _Slot):
        return values[argument]
    if isinstance(argument, list):
        return [_fill(one, values) for one in argument]
    return argument
