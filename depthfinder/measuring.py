"""From what a user names to what can be timed: ONNX files, run folders, plans."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from depthfinder.api import load_merged
from latency.device import Device, UnsupportedModeError
from latency.rounds import Program
from pruner.errors import PlanError
from pruner.models import load_model
from pruner.names import ModelName
from pruner.plan import Plan
from pruner.surgery import apply, input_size_of, merge


def programs_of(
    paths: Sequence[Path], device: Device[Any], batch_size: int, model: str | None, kwargs: Mapping[str, Any]
) -> dict[str, Program]:
    """A program for each path, by its name.

    Raises `FileNotFoundError` for what is not there, `UnsupportedModeError` for an ONNX file on a device that runs
    none, and `PlanError` for a plan of another model.
    """
    return {str(path): _program(path, device, batch_size, model, kwargs) for path in paths}


def _program(path: Path, device: Device[Any], batch_size: int, model: str | None, kwargs: Mapping[str, Any]) -> Program:
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    if path.is_dir():
        return _load(load_merged(path), device, batch_size)
    if path.suffix == ".onnx":
        return device.load_file(path, batch_size)
    if path.suffix == ".json":
        return _load(_of_plan(path, model, kwargs), device, batch_size)
    raise UnsupportedModeError(f"{path} is no ONNX file, no run folder and no plan (.json)")


def _of_plan(path: Path, model: str | None, kwargs: Mapping[str, Any]) -> nn.Module:
    """The merged network of a plan, with weights drawn at random: their values do not change what it takes."""
    plan = Plan.from_json(path.read_text(encoding="utf-8"))
    if model is not None and ModelName.parse(model).architecture != plan.model:
        raise PlanError(f"{path} is a plan for {plan.model}, not for {model}")
    torch.manual_seed(0)
    cut = apply(load_model(plan.model, **kwargs), plan)
    cut.set_lambda(0.0)
    return merge(cut)


def _load(network: nn.Module, device: Device[Any], batch_size: int) -> Program:
    images = torch.rand(batch_size, *input_size_of(network), generator=torch.Generator().manual_seed(0))
    return device.load(network, images)
