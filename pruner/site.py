"""A place where an opened network may be cut: every choice's path over one set of weights."""

import operator
from collections import OrderedDict

import torch
from torch import Tensor, fx, nn

from pruner.chain import Block
from pruner.plan import DROP, KEEP


class Site(nn.Module):
    """Stands where a block x + branch(x) stood, and computes what `choice` makes of it.

    The gate `lam` runs from 1, where every choice computes exactly what the block did, to 0, where `merged` is exact.
    A site knows `keep` and `drop`; one that offers more overrides `forward` and `merged` for what it adds.
    """

    def __init__(self, block: Block, branch: nn.Sequential) -> None:
        super().__init__()
        self.block = block
        self.branch = branch
        self.choice = KEEP
        self.lam = 1.0

    def select(self, choice: str, lam: float) -> None:
        """Chooses the path that `forward` takes, and how far towards it the gate stands."""
        self.choice, self.lam = choice, lam

    def forward(self, x: Tensor) -> Tensor:
        if self.choice == DROP and self.lam == 0:
            return x
        y: Tensor = self.branch(x)
        return x + (y if self.choice == KEEP else gated(self.lam, y, torch.zeros_like(y)))

    def merged(self) -> nn.Module | None:
        """What the choice computes at `lam` 0, as a plain torch module that shares weights with this site where it
        can; None when nothing is left of the block."""
        return None if self.choice == DROP else residual(self.branch)


def gated(lam: float, full: Tensor, cut: Tensor) -> Tensor:
    """lam * full + (1 - lam) * cut, and exactly `full` or `cut` at the two ends (UPDP's progressive gate)."""
    if lam == 1:
        return full
    if lam == 0:
        return cut
    return lam * full + (1 - lam) * cut


def residual(branch: nn.Module) -> fx.GraphModule:
    """x + branch(x) as a module that holds no class of ours."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(operator.add, (x, graph.call_module("branch", (x,)))))
    return fx.GraphModule({"branch": branch}, graph)


def without_identities(**modules: nn.Module) -> nn.Sequential:
    """The modules one after another, leaving out those that do nothing."""
    return nn.Sequential(OrderedDict((k, v) for k, v in modules.items() if not isinstance(v, nn.Identity)))
