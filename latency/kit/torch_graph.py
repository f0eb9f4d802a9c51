"""Turns a module into plain data, a list of operators of PyTorch's aten namespace, which a kit holds instead of it."""

import operator
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from latency.errors import KitError

_FEW: Final = 4096  # numbers that are no weights are few: they travel as they are


def torch_graph(module: nn.Module, *inputs: Tensor) -> dict[str, Any]:
    """Returns the operators that a module runs, as plain data for JSON.

    Args:
        module: The module. It is put in evaluation mode.
        inputs: (B, ...), examples of its inputs.

    Returns:
        The number of `slots` for values, the slots of `inputs` and `outputs`, the shapes of `weights`, and the `steps`:
        each an operator with its arguments, the slot of its result, and the slots that are not needed after it.

    Raises:
        KitError: when the module does not consist of aten's operators alone, or needs a long table of whole numbers.
    """
    exported = torch.export.export(module.eval(), inputs, strict=False)
    signature = exported.graph_signature
    weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = signature.inputs_to_lifted_tensor_constants
    slots: dict[fx.Node, int] = {}
    steps: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    given: list[int] = []
    outputs: list[int] = []
    for node in exported.graph.nodes:
        if node.op == "output":
            outputs = [slots[one] for one in node.args[0]]
            continue
        slots[node] = len(slots)
        if node.op == "placeholder" and node.name in (*weights, *constants):
            tensor = exported.state_dict.get(weights.get(node.name, ""))
            if tensor is None:
                tensor = exported.constants[constants.get(node.name, weights.get(node.name, ""))]
            records.append({"slot": slots[node], **_weight(tensor)})
        elif node.op == "placeholder":
            given.append(slots[node])
        elif (
            node.target is not torch.ops.aten._assert_tensor_metadata.default
        ):  # it holds for this place and dtype alone
            steps.append(
                {
                    "op": _name(node.target),
                    "args": [_plain(argument, slots) for argument in node.args],
                    "kwargs": {name: _plain(argument, slots) for name, argument in node.kwargs.items()},
                    "slot": slots[node],
                }
            )
    kept = {*given, *outputs} | {record["slot"] for record in records}
    _note_last_uses(steps, kept)
    return {"slots": len(slots), "inputs": given, "outputs": outputs, "weights": records, "steps": steps}


def _name(target: Any) -> str:
    if target is operator.getitem:
        return "getitem"
    name = str(target)
    if not name.startswith("aten."):
        raise KitError(f"{name} is not one of aten's operators, and a kit can carry no others")
    return name


def _weight(tensor: Tensor) -> dict[str, Any]:
    """Returns the shape of a tensor of weights, or the values of a tensor of whole numbers, which may be indices."""
    if tensor.is_floating_point():
        return {"shape": list(tensor.shape)}
    if tensor.numel() > _FEW:
        raise KitError(f"a table of {tensor.numel()} whole numbers is too long for a kit")
    return {"values": tensor.tolist(), "dtype": str(tensor.dtype).removeprefix("torch.")}


def _plain(argument: Any, slots: dict[fx.Node, int]) -> Any:
    if isinstance(argument, fx.Node):
        return {"slot": slots[argument]}
    if isinstance(argument, (list, tuple)):
        return [_plain(one, slots) for one in argument]
    if isinstance(argument, (torch.dtype, torch.memory_format, torch.layout)):
        return {"torch": str(argument).removeprefix("torch.")}
    if isinstance(argument, torch.device):
        return {"place": True}
    if argument is None or isinstance(argument, (bool, int, float, str)):
        return argument
    raise KitError(f"{argument!r} cannot be carried in a kit")


def _note_last_uses(steps: list[dict[str, Any]], kept: set[int]) -> None:
    """Adds to each step the slots that no later step needs."""
    seen = set(kept)
    for step in reversed(steps):
        used = _slots_in([step["args"], step["kwargs"]]) | {step["slot"]}
        step["last"] = sorted(used - seen)
        seen |= used


def _slots_in(argument: Any) -> set[int]:
    if isinstance(argument, list):
        return set().union(*(_slots_in(one) for one in argument)) if argument else set()
    if isinstance(argument, dict):
        return {argument["slot"]} if "slot" in argument else _slots_in(list(argument.values()))
    return set()
