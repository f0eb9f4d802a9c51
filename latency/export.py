"""Handing a network over: an ONNX file and a safetensors file, both checked before they get their names."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import safetensors.torch
import torch
from torch import Tensor, nn

from latency.devices.ort import open_session
from latency.onnx_graph import OPSET, to_onnx, with_metadata
from profiles.files import write_whole
from pruner.plan import PLAN_ENTRY, Plan


class ExportError(RuntimeError):
    """The exported network does not compute what the network does."""


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
) -> Parity:
    """Writes `network` to `path`, with a free batch axis and its plan among the metadata, and compares both runtimes on
    `images` (N, C, H, W).

    Raises `ExportError`, and leaves no file, when the logits differ by more than `atol` times the largest logit or
    1, whichever is more, or when any image's top-1 class does.
    """
    model = with_metadata(to_onnx(network, images[:1], opset=opset), {PLAN_ENTRY: plan.to_json()} if plan else {})
    onnx.checker.check_model(model, full_check=True)
    serialized = model.SerializeToString(deterministic=True)
    parity = _parity(network, serialized, images, atol)
    write_whole(path, serialized)
    return parity


def export_safetensors(network: nn.Module, path: Path, plan: Plan) -> None:
    """Writes the weights of `network` with its plan in the file's header: one entry, for several have no set order."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_whole(path, safetensors.torch.save(tensors, metadata={PLAN_ENTRY: plan.to_json()}))


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
