"""What the nodes of a graph give while it runs: tensors, sizes, or plain values."""

from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from pruner.algebra.modules import only_training

Number = int | tuple["Number", ...]
_PLAIN: Final = (bool, float, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)


@dataclass(frozen=True)
class Noted:
    """What nodes give for one image and for two.

    Attributes:
        numbers: Node -> its size, for the nodes that are sizes and are the same for both, or twice as much for two.
        plain: Node -> its value, for those that are neither tensors nor sizes and have one value for both.
        shapes: Node -> the shape of its tensor, for the nodes that give one.
    """

    numbers: dict[fx.Node, tuple[Number, Number]] = field(default_factory=dict)
    plain: dict[fx.Node, Any] = field(default_factory=dict)
    shapes: dict[fx.Node, tuple[torch.Size, torch.Size]] = field(default_factory=dict)

    def images_in(self, node: fx.Node) -> int | None:
        """How many entries along its first axis a node's tensor has for each image; None where that is no number."""
        once, twice = self.shapes[node]
        return once[0] if len(once) and twice[0] == 2 * once[0] else None


@torch.no_grad()
def noted(graph: fx.Graph, network: nn.Module, images: Tensor) -> Noted:
    """Runs a graph on one image and on two, and notes what its nodes give.

    Args:
        graph: What `network` computes.
        network: The network, which runs in evaluation mode.
        images: One image (1, C, H, W).
    """
    found = Noted()
    runs: list[dict[fx.Node, Any]] = []
    with only_training(network, []):
        for count in (1, 2):
            run = _Noting(network, graph)
            run.run(images.expand(count, *images.shape[1:]))
            runs.append(run.values)
    for node in runs[0].keys() & runs[1].keys():
        once, twice = runs[0][node], runs[1][node]
        if isinstance(once, torch.Size) and isinstance(twice, torch.Size) and run.is_tensor[node]:
            found.shapes[node] = once, twice
        elif _is_number(once) and _is_number(twice) and _is_of_the_batch(once, twice):
            found.numbers[node] = once, twice
        elif isinstance(once, _PLAIN) and once == twice:
            found.plain[node] = once
    return found


class _Noting(fx.Interpreter):
    """Runs a graph, and notes the shape of every tensor, and every other value."""

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        super().__init__(network, graph=graph)
        self.values: dict[fx.Node, Any] = {}
        self.is_tensor: dict[fx.Node, bool] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Runs one node."""
        given = super().run_node(n)
        self.is_tensor[n] = isinstance(given, Tensor)
        if isinstance(given, Tensor):
            self.values[n] = given.shape
        elif _is_number(given) or isinstance(given, _PLAIN):
            self.values[n] = given
        return given

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Runs a module, which is given lists that it may write to, as it would be by the code of a graph."""
        return super().call_module(target, tuple(list(one) if isinstance(one, list) else one for one in args), kwargs)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, tuple) and all(map(_is_number, value)))


def _is_of_the_batch(once: Number, twice: Number) -> bool:
    if isinstance(once, tuple) and isinstance(twice, tuple):
        return len(once) == len(twice) and all(map(_is_of_the_batch, once, twice))
    return isinstance(once, int) and isinstance(twice, int) and twice in (once, 2 * once)
