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

OPSET: Final = 18
"""The ONNX opset that is exported by default."""
INPUT: Final = "images"
"""The name of an exported graph's input."""
OUTPUT: Final = "logits"
"""The name of an exported graph's output."""
_BATCH: Final = "batch"


def to_onnx(module: nn.Module, example: Tensor, *, opset: int = OPSET) -> onnx.ModelProto:
    """Exports `module`, in evaluation mode, as an ONNX model with one input, one output and a free batch axis.

    The tracing exporter is used. It is quick enough to export every block of a network by itself, and blocks that are
    exported alone and joined give the same graph as the whole network exported at once.

    Args:
        module: The module. It is not changed.
        example: (B, ...), an example of its input.
        opset: The ONNX opset.
    """
    exported = copy.deepcopy(module).eval()
    for part in exported.modules():
        # One fused attention call would be exported as a subgraph that runtimes recognise less well.
        if hasattr(part, "fused_attn"):
            part.fused_attn = False  # type: ignore[assignment]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # torch announces the tracing exporter's end of life, and every shape that tracing turns into a constant.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit._trace.TracerWarning)
        torch.onnx.export(
            exported,
            (example,),
            buffer,  # type: ignore[arg-type]  # a stream will do for the tracing exporter
            dynamo=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: _BATCH}, OUTPUT: {0: _BATCH}},
        )
    return onnx.load_from_string(buffer.getvalue())


def join(fragments: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """Joins models into one that runs them one after another, each on the output of the one before.

    A fragment may stand in several places. Each place gets weights of its own, slightly different from those of the
    other places: equal weights stay in the cache, and a network of such blocks is faster than the one that will be
    deployed.
    """
    graph = onnx.GraphProto(name="network")
    flows = ""
    for index, fragment in enumerate(fragments):
        part = onnx.compose.add_prefix(fragment, f"{index}/").graph
        if flows:
            _rename_input(part, part.input[0].name, flows)
        else:
            graph.input.extend(part.input)
        graph.node.extend(part.node)
        graph.initializer.extend(_told_apart(tensor, index) for tensor in part.initializer)
        flows = part.output[0].name
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
