"""Makes what a user names into programs that can be timed: ONNX files, run folders and plans."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from depthfinder.api import load_merged, uncut_network
from depthfinder.config.run import SparsifyConfig
from depthfinder.folder.contents import contents_of
from latency.device import Device
from latency.errors import UnsupportedModeError
from latency.rounds import Program
from pruner.choices.plan import Plan
from pruner.errors import PlanError
from pruner.models.load import load_model
from pruner.models.names import ModelName
from pruner.models.weights_fit import load_weights
from pruner.network.image_size import input_size_of
from pruner.network.surgery import apply, merge

_MASKED: Final = "masked.safetensors"
_SMALLER: Final = "pruned.onnx"


def programs_of(
    paths: Sequence[Path], device: Device[Any], batch_size: int, model: str | None, kwargs: Mapping[str, Any]
) -> dict[str, Program]:
    """Returns a program for each path, by its name. A folder of `sparsify` has its baseline before it.

    Args:
        paths: ONNX files, run folders, and plans (.json).
        device: The device that they are to be timed on.
        batch_size: How many images a program takes at once.
        model: The name of the model that plans are to be of; None for any.
        kwargs: The arguments that the models of plans are made with.

    Raises:
        FileNotFoundError: for a path that is not there.
        FolderError: for a folder without a network; it says what the folder holds instead.
        UnsupportedModeError: for an ONNX file on a device that runs none, and for a file of another kind.
        PlanError: for a plan of another model.
    """
    programs: dict[str, Program] = {}
    for path in paths:
        if path.is_dir() and contents_of(path).kind == "sparsify":
            programs |= _sparsified(path, device, batch_size)
        else:
            programs[str(path)] = _program(path, device, batch_size, model, kwargs)
    return programs


def notes_on(paths: Sequence[Path]) -> list[str]:
    """Returns a note for each folder of masks: that masks alone make nothing faster."""
    return [
        f"{path} holds masks over the weights of its baseline, in whose shape it is: zeros are multiplied like other "
        "numbers, so it takes what the baseline takes"
        for path in paths
        if path.is_dir() and contents_of(path).kind == "sparsify" and not (path / _SMALLER).is_file()
    ]


def _sparsified(path: Path, device: Device[Any], batch_size: int) -> dict[str, Program]:
    """The baseline of a folder of `sparsify`, and then its network without the removed channels, or its masked one."""
    weights = path / _MASKED
    if not weights.is_file():
        raise contents_of(path).lacking("masked network", _MASKED)
    asked = SparsifyConfig.load(path / "args.yaml").network
    baseline, masked = (uncut_network(asked, weights) for _ in range(2))
    load_weights(masked, weights)
    smaller = path / _SMALLER
    return {
        f"{path} (baseline)": _load(baseline, device, batch_size),
        str(path): device.load_file(smaller, batch_size) if smaller.is_file() else _load(masked, device, batch_size),
    }


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
    """The merged network of a plan, with weights drawn at random: their values do not change the latency."""
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
