"""Exports a network as an ONNX file, checked against PyTorch, and as a safetensors file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import safetensors.torch
import torch
from torch import Tensor, nn

from latency.devices.ort import open_session
from latency.errors import ExportError
from latency.onnx_graph import OPSET, to_onnx, with_metadata
from profiles.files import write_whole
from pruner.algebra.answer import answering
from pruner.choices.plan import PLAN_ENTRY, Plan

_LENGTH: Final = 8
NO_METADATA: Final[Mapping[str, str]] = {}
"""No entries of metadata beside the plan."""


@dataclass(frozen=True)
class Parity:
    """How ONNX Runtime's logits compare with PyTorch's.

    Attributes:
        images: The number of images that both were run on.
        largest_difference: The largest absolute difference between two logits.
        same_top1: The number of images of which both give the same top-1 class.
    """

    images: int
    largest_difference: float
    same_top1: int


def export_onnx(
    network: nn.Module,
    path: Path,
    images: Tensor,
    *,
    opset: int = OPSET,
    atol: float = 1e-4,
    plan: Plan | None = None,
    metadata: Mapping[str, str] = NO_METADATA,
) -> Parity:
    """Exports the answer of `network` as an ONNX file with a free batch axis, after comparing two runtimes.

    Args:
        network: The network, in fp32 on the processor. It is put in evaluation mode.
        path: Where to write the file.
        images: (N, C, H, W), the images that both runtimes are compared on.
        opset: The ONNX opset.
        atol: The largest difference between logits that is accepted, times the largest absolute logit or 1, whichever
            is more.
        plan: The network's plan, to be written into the file's metadata.
        metadata: Other entries of the file's metadata.

    Returns:
        How the two runtimes compare.

    Raises:
        ExportError: when the logits differ by more, or the top-1 class of any image differs; no file is written.
    """
    entries = ({PLAN_ENTRY: plan.to_json()} if plan else {}) | dict(metadata)
    network = answering(network.eval(), images)
    model = with_metadata(to_onnx(network, images[:1], opset=opset), entries)
    onnx.checker.check_model(model, full_check=True)
    serialized = model.SerializeToString(deterministic=True)
    parity = _parity(network, serialized, images, atol)
    write_whole(path, serialized)
    return parity


def export_safetensors(network: nn.Module, path: Path, plan: Plan, metadata: Mapping[str, str] = NO_METADATA) -> None:
    """Writes the weights of `network` as a safetensors file, with its plan and `metadata` in the file's header."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    content = safetensors.torch.save(tensors, metadata={PLAN_ENTRY: plan.to_json()} | dict(metadata))
    write_whole(path, _with_entries_in_order(content))


def _with_entries_in_order(content: bytes) -> bytes:
    """Sorts the metadata of a safetensors file, so that equal weights give equal bytes: its library writes the
    entries in no set order.

    The file is the length of a JSON header in 8 bytes, the header, padded with spaces, and the tensors.
    """
    end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    header = json.loads(content[_LENGTH:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH)
    return len(text).to_bytes(_LENGTH, "little") + text + content[end:]


def _parity(network: nn.Module, serialized: bytes, images: Tensor, atol: float) -> Parity:
    session = open_session(serialized, threads=torch.get_num_threads())
    name = session.get_inputs()[0].name
    with torch.inference_mode():
        expected = np.concatenate([network.eval()(part).numpy() for part in images.split(250)])
    found = np.concatenate([session.run(None, {name: part.numpy()})[0] for part in images.split(250)])
    difference = float(np.abs(found - expected).max())
    same = int((found.argmax(1) == expected.argmax(1)).sum())
    if not difference <= atol * max(1.0, float(np.abs(expected).max())) or same < len(images):
        raise ExportError(
            f"ONNX Runtime and PyTorch differ by up to {difference:.2e} in their logits and in the top-1 class of "
            f"{len(images) - same} of {len(images)} images"
        )
    return Parity(len(images), difference, same)
