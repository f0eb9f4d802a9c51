"""Handing a network over: an ONNX file and a safetensors file, both checked before they get their names."""

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
from pruner.choices.plan import PLAN_ENTRY, Plan

_LENGTH: Final = 8
NO_METADATA: Final[Mapping[str, str]] = {}


@dataclass(frozen=True)
class Parity:
    """How ONNX Runtime's logits compare with PyTorch's over `images` images."""

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
    """Writes `network` to `path`, with a free batch axis and its plan beside the `metadata`, and compares both runtimes
    on `images` (N, C, H, W).

    Raises `ExportError`, and leaves no file, when the logits differ by more than `atol` times the largest logit or
    1, whichever is more, or when any image's top-1 class does.
    """
    entries = ({PLAN_ENTRY: plan.to_json()} if plan else {}) | dict(metadata)
    model = with_metadata(to_onnx(network, images[:1], opset=opset), entries)
    onnx.checker.check_model(model, full_check=True)
    serialized = model.SerializeToString(deterministic=True)
    parity = _parity(network, serialized, images, atol)
    write_whole(path, serialized)
    return parity


def export_safetensors(network: nn.Module, path: Path, plan: Plan, metadata: Mapping[str, str] = NO_METADATA) -> None:
    """Writes the weights of `network` with its plan, and the other `metadata`, in the file's header."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    content = safetensors.torch.save(tensors, metadata={PLAN_ENTRY: plan.to_json()} | dict(metadata))
    write_whole(path, _with_entries_in_order(content))


def _with_entries_in_order(content: bytes) -> bytes:
    """The same safetensors file whenever it is written: its library gives the metadata's entries no set order.

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
