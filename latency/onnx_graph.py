"""Exports modules as ONNX graphs and joins the graphs into whole networks."""

import copy
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx
import onnx.compose
import onnx.numpy_helper
import torch
from torch import Tensor, nn

from pruner.algebra.flow import Wire

OPSET: Final = 18
"""The ONNX opset that is exported by default."""
INPUT: Final = "images"
"""The name of an exported graph's input."""
OUTPUT: Final = "logits"
"""The name of an exported graph's output."""
_BATCH: Final = "batch"


def to_onnx(module: nn.Module, *inputs: Tensor, opset: int = OPSET) -> onnx.ModelProto:
    """Exports `module`, in evaluation mode, as an ONNX model with a free batch axis.

    The tracing exporter is used. It is quick enough to export every block of a network by itself, and blocks that are
    exported alone and joined give the same graph as the whole network exported at once.

    Args:
        module: The module. It is not changed.
        inputs: (B, ...), examples of its inputs.
        opset: The ONNX opset.
    """
    exported = copy.deepcopy(module).eval()
    for part in exported.modules():
        # One fused attention call would be exported as a subgraph that runtimes recognise less well.
        if hasattr(part, "fused_attn"):
            part.fused_attn = False  # type: ignore[assignment]
    buffer = io.BytesIO()
    names = [INPUT, *(f"{INPUT}.{place}" for place in range(1, len(inputs)))]
    with warnings.catch_warnings(), torch.no_grad():
        # torch announces the tracing exporter's end of life, and every shape that tracing turns into a constant.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit._trace.TracerWarning)
        torch.onnx.export(
            exported,
            inputs,
            buffer,  # type: ignore[arg-type]  # a stream will do for the tracing exporter
            dynamo=False,
            opset_version=opset,
            input_names=names,
            output_names=[OUTPUT],
            dynamic_axes={name: {0: _BATCH} for name in (*names, OUTPUT)},
        )
    return onnx.load_from_string(buffer.getvalue())


def join(fragments: Sequence[onnx.ModelProto], wires: Sequence[Wire]) -> onnx.ModelProto:
    """Joins models into one that runs them in order.

    A fragment may stand in several places. Each place gets weights of its own, slightly different from those of the
    other places: equal weights stay in the cache, and a network of such blocks is faster than the one that will be
    deployed.

    Args:
        fragments: The models, in running order.
        wires: How each is connected with the others. The inputs of the joined model have the first numbers, from 0 on;
            its outputs are those of the last fragment.
    """
    graph = onnx.GraphProto(name="network")
    flowing: dict[int, str] = {}
    for index, (fragment, wire) in enumerate(zip(fragments, wires, strict=True)):
        part = onnx.compose.add_prefix(fragment, f"{index}/").graph
        for number, entering in zip(wire.takes, part.input, strict=True):
            if number in flowing:
                _rename_input(part, entering.name, flowing[number])
            else:
                graph.input.append(entering)
                flowing[number] = entering.name
        graph.node.extend(part.node)
        graph.initializer.extend(_told_apart(tensor, index) for tensor in part.initializer)
        flowing |= dict(zip(wire.gives, (leaving.name for leaving in part.output), strict=True))
        last = part.output
    graph.output.extend(last)
    return onnx.helper.make_model(graph, opset_imports=fragments[0].opset_import, ir_version=fragments[0].ir_version)


def _told_apart(tensor: onnx.TensorProto, place: int) -> onnx.TensorProto:
    """Scales a matrix of weights by a factor near one that differs in every place; returns other tensors as they
    are."""
    if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
        return tensor
    return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1 + place / 4096), tensor.name)


def _rename_input(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == old:
                node.input[position] = new
    for output in graph.output:
        if output.name == old:
            output.name = new


def with_metadata(model: onnx.ModelProto, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Returns a copy of `model` with `metadata` as its only metadata."""
    noted = onnx.ModelProto()
    noted.CopyFrom(model)
    onnx.helper.set_model_props(noted, dict(metadata))
    return noted
