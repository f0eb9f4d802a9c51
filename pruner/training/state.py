"""A training's state as tensors and plain facts, and back: everything that the next step depends on."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruner.errors import CheckpointError
from pruner.models.checkpoint import Checkpoint

Plain = int | float | bool | str | None


def network_state(network: nn.Module, name: str = "network") -> dict[str, Tensor]:
    """The weights and buffers, each under `name`."""
    return {f"{name}.{key}": tensor for key, tensor in network.state_dict().items()}


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Plain]]:
    """What an optimizer remembers: the tensors, and the numbers and words of its parameters and groups."""
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Plain] = {}
    state = optimizer.state_dict()
    held = {f"state.{index}": values for index, values in state["state"].items()}
    held |= {f"group.{index}": group for index, group in enumerate(state["param_groups"])}
    for place, values in held.items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{place}.{key}"] = value
            elif value is None or isinstance(value, int | float | bool | str):
                facts[f"{place}.{key}"] = value
            elif place.startswith("state"):
                raise CheckpointError(f"the optimizer keeps a {type(value).__name__} ({key}), which cannot be saved")
    return tensors, facts


def restore_optimizer(optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Puts back what `optimizer_state` took, in the memory layout of the weights that it is about: numbers that lie
    otherwise are gone through otherwise, and rounded otherwise."""
    groups = optimizer.state_dict()["param_groups"]
    state: dict[int, dict[str, Any]] = {}
    found: dict[str, Any] = {
        name.removeprefix("optimizer."): tensor
        for name, tensor in checkpoint.tensors.items()
        if name.startswith("optimizer.")
    }
    found |= checkpoint.facts.get("optimizer", {})
    for name, value in found.items():
        where, index, key = name.split(".", 2)
        (state.setdefault(int(index), {}) if where == "state" else groups[int(index)])[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def load_network(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Puts what a training ended with into the network it trained: the moving average of its weights, if it has one."""
    average = any(name.startswith("average.") for name in checkpoint.tensors)
    load_part(network, checkpoint.tensors, "average" if average else "network")


def load_part(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Puts the weights and buffers that lie under `name` into `network`."""
    prefix = f"{name}."
    network.load_state_dict({key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)})
