"""The state of a training, which is all that its next step depends on, as tensors and plain facts, and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruner.errors import CheckpointError
from pruner.models.checkpoint import Checkpoint
from pruner.models.weights_file import put_into

Plain = int | float | bool | str | None


def network_state(network: nn.Module, name: str = "network") -> dict[str, Tensor]:
    """Returns the weights and buffers of a network, each with `name` and a dot before its own name."""
    return {f"{name}.{key}": tensor for key, tensor in network.state_dict().items()}


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Plain]]:
    """Returns what an optimizer remembers: (the tensors, the plain facts of its parameters and groups).

    Raises `CheckpointError` when it remembers for a parameter what is neither.
    """
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
    """Puts what `optimizer_state` has taken back into an optimizer.

    The tensors get the memory layout of the weights that they belong to: in another layout they are summed in another
    order, and rounded otherwise.

    Args:
        optimizer: A new optimizer over the same network.
        checkpoint: A checkpoint with the tensors of the optimizer, and its facts under "optimizer".
    """
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
    """Loads what a training ended with into its network: the moving average of the weights, if there is one."""
    average = any(name.startswith("average.") for name in checkpoint.tensors)
    load_part(network, checkpoint.tensors, "average" if average else "network")


def load_part(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Loads the weights and buffers whose names begin with `name` and a dot into the network."""
    prefix = f"{name}."
    put_into(network, {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)})
