"""What a network answers: one tensor, of all that it may return."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruner.errors import OddModelError

_NAMES: Final = ("logits", "out")


def answer_of(output: Any) -> Tensor:
    """Returns the tensor that a network is judged by.

    Of a dictionary or a dataclass (Hugging Face) that is the entry `logits`, else `out` (torchvision's segmentation);
    else the last of a dictionary, as of features that were collected on the way, and the first of a dataclass, a list
    or a tuple.

    Raises:
        OddModelError: when there is no tensor in it.

    Example:
        >>> import torch
        >>> answer_of({"aux": torch.zeros(2), "out": torch.ones(2)})
        tensor([1., 1.])
    """
    found: Any = main_of(output)
    if not isinstance(found, Tensor):
        raise OddModelError(f"it returns a {type(output).__name__} without a tensor: there is nothing to judge it by")
    return found


def main_of(output: Any) -> Any:
    """Returns the entry of an output that the network is judged by, whatever the entries are; None where it is empty.

    Args:
        output: What a network returns; or the same with, for example, nodes of a graph in place of tensors.
    """
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        both = ((field.name, getattr(output, field.name)) for field in dataclasses.fields(output))
        return main_of_record({name: value for name, value in both if value is not None})
    if isinstance(output, Mapping):
        return main_of(_either(_named_in(output), list(output.values())[-1:]))
    if isinstance(output, (list, tuple)):
        return main_of(output[0]) if output else None
    return output


def main_of_record(fields: Mapping[str, Any]) -> Any:
    """Returns the same of a dataclass, given its fields."""
    return main_of(_either(_named_in(fields), list(fields.values())[:1]))


def _either(found: Any, others: list[Any]) -> Any:
    return others[0] if found is None and others else found


def _named_in(entries: Mapping[str, Any]) -> Any:
    found = [entries[name] for name in _NAMES if entries.get(name) is not None]
    return found[0] if found else None


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Returns all tensors of what a network returns, in order."""
    if isinstance(output, Tensor):
        yield output
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for one in dataclasses.fields(output):
            yield from tensors_in(getattr(output, one.name))
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors_in(value)
    elif isinstance(output, (list, tuple)):
        for value in output:
            yield from tensors_in(value)


class _Answering(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return answer_of(self.network(images))


@torch.no_grad()
def answering(network: nn.Module, images: Tensor) -> nn.Module:
    """Returns a module that gives the network's answer alone: the network itself, where it gives nothing else."""
    return network if isinstance(network(images[:1]), Tensor) else _Answering(network)
