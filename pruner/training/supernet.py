"""Training the weight-sharing network, so that any plan can be scored without being trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from torch import Tensor, nn

from pruner.choices.chain import Chain
from pruner.choices.choice import KEEP
from pruner.choices.plan import Plan
from pruner.network.surgery import Supernet
from pruner.training.objective import Objective, divergence, task_loss
from pruner.training.train_step import TrainStep

_DEEPEST_SHARE: Final = 0.75  # of the blocks cut in a random plan; each draws its share below this one

Draw = Callable[[Random], Sequence[Plan]]
"""The plans that a step trains beside the uncut network."""


@dataclass(frozen=True)
class RandomPlans:
    """`count` plans, each of a share of cut blocks of its own."""

    chain: Chain
    count: int = 1

    def __call__(self, random: Random) -> list[Plan]:
        return [self.chain.random_plan(random.uniform(0.0, _DEEPEST_SHARE), random) for _ in range(self.count)]


@dataclass(frozen=True)
class Sandwich:
    """The plan that cuts most, and what `between` draws (the sandwich rule of Yu & Huang, ICCV 2019)."""

    chain: Chain
    between: Draw

    def __call__(self, random: Random) -> list[Plan]:
        return [most_pruned(self.chain), *self.between(random)]


def most_pruned(chain: Chain) -> Plan:
    """Every block cut in the last of its ways: families name them from what leaves most to what leaves least."""
    return chain.plan({block.name: block.choices[-1] for block in chain.blocks if block.choices[-1] != KEEP})


class SupernetObjective(Objective):
    """Each step the uncut path learns from the labels, and every plan drawn learns from the labels and from the uncut
    path of the same step (in-place distillation, Yu & Huang, ICCV 2019)."""

    network: Supernet

    def __init__(
        self,
        supernet: Supernet,
        draw: Draw | None = None,
        temperature: float = 2.0,
        distill_loss_weight: float = 1.0,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__(supernet)
        self.draw = draw or RandomPlans(supernet.chain)
        self.temperature = temperature
        self.distill_loss_weight = distill_loss_weight
        self.smoothing = smoothing

    def forward(self, images: Tensor, targets: Tensor, train_step: TrainStep) -> Tensor:
        whole = self._answers(Plan(self.network.chain.model), images)
        loss = task_loss(whole, targets, self.smoothing)
        for plan in self.draw(Random(train_step.entropy)):
            cut = self._answers(plan, images)
            taught = divergence(cut, whole.detach(), self.temperature)
            loss = loss + task_loss(cut, targets, self.smoothing) + self.distill_loss_weight * taught
        return loss

    def on_evaluate(self, network: nn.Module, train_step: TrainStep) -> None:
        """The uncut path."""
        assert isinstance(network, Supernet)
        network.select(Plan(network.chain.model))

    def _answers(self, plan: Plan, images: Tensor) -> Tensor:
        self.network.select(plan)
        logits: Tensor = self.network(images)
        return logits


def freeze_backbone(supernet: Supernet) -> None:
    """Leaves to be trained, in place, the BatchNorms that cut blocks switch to and the biases, and masks if there are
    any: enough for a ranking."""
    new = {id(parameter) for site in supernet.sites.values() for parameter in site.norms.parameters()}
    for name, parameter in supernet.named_parameters():
        learns = id(parameter) in new or name.endswith("bias") or name.startswith("masks.")
        parameter.requires_grad_(learns)


def trainable(network: nn.Module) -> int:
    """How many numbers a training may change."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
