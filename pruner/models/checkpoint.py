"""Checkpoints of trainings: safetensors and JSON alone, written whole or not at all, with the one before kept."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pruner.errors import CheckpointError


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after a step.

    Attributes:
        step: How many steps are done.
        tensors: Every tensor that the next step depends on, by name.
        facts: Everything else that the next step depends on, as JSON has it.
    """

    step: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointFile:
    """The file of a training's newest checkpoint, and beside it that of the one before.

    Attributes:
        path: The file of the newest checkpoint.
        identity: Says which training it is (model, data, seed, settings). A checkpoint of another training is refused.
        images: What the weights are learnt from, for whoever opens the file.
    """

    path: Path
    identity: str
    images: Mapping[str, Any] = field(default_factory=dict)

    @property
    def _before(self) -> Path:
        return self.path.with_name(self.path.name + ".before")

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint to `path`, and keeps the one that was there under the name with `.before`."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        facts = json.dumps(checkpoint.facts)
        about = {"step": checkpoint.step, "identity": self.identity, "facts": facts, "digest": _digest(tensors, facts)}
        about |= {"images": dict(self.images)} if self.images else {}
        written = self.path.with_name(self.path.name + ".writing")
        safetensors.torch.save_file(tensors, written, metadata={"depthfinder": json.dumps(about)})
        with written.open("rb") as file:
            os.fsync(file.fileno())
        if self.path.exists():
            self.path.replace(self._before)
        written.replace(self.path)

    def is_of_this_training(self) -> bool:
        """Returns whether the newest checkpoint exists and its identity is this training's."""
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                return bool(json.loads(file.metadata()["depthfinder"])["identity"] == self.identity)
        except (OSError, safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError):
            return False

    def load(self) -> Checkpoint | None:
        """Reads the newest checkpoint that is whole; None when there never was one.

        Raises `CheckpointError` when there are files but none is whole, or they belong to another training.
        """
        there = [path for path in (self.path, self._before) if path.exists()]
        for path in there:
            checkpoint = self._read(path)
            if checkpoint is not None:
                return checkpoint
        if there:
            raise CheckpointError(
                f"{self.path} is damaged, and so is the one before it; remove both to start this stage again"
            )
        return None

    def _read(self, path: Path) -> Checkpoint | None:
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["depthfinder"])
                step, identity, told, digest = (facts[name] for name in ("step", "identity", "facts", "digest"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError):
            return None
        if digest != _digest(tensors, told):
            return None
        if identity != self.identity:
            raise CheckpointError(f"{path} belongs to another training: {identity}, not {self.identity}")
        return Checkpoint(step, tensors, json.loads(told))


def _digest(tensors: Mapping[str, Tensor], facts: str) -> str:
    """A digest of the names, shapes, types and bits of the tensors, sorted by name, and of the facts."""
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        tensor = tensors[name].cpu()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
