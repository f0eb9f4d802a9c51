"""Trains the supernet, whose weights all plans share, so that any plan can be scored without training of its own."""

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

_DEEPEST_SHARE: Final = 0.75  # of the blocks; the share that a random plan cuts is drawn below it

Draw = Callable[[Random], Sequence[Plan]]
"""The plans that a step trains beside the uncut network."""


@dataclass(frozen=True)
class RandomPlans:
    """Draws random plans, each with its own share of cut blocks.

    Attributes:
        chain: The blocks of the network.
        count: How many plans are drawn.
    """

    chain: Chain
    count: int = 1

    def __call__(self, random: Random) -> list[Plan]:
        return [self.chain.random_plan(random.uniform(0.0, _DEEPEST_SHARE), random) for _ in range(self.count)]


@dataclass(frozen=True)
class Sandwich:
    """Draws the plan that cuts most, and other plans beside it (the sandwich rule of Yu & Huang, ICCV 2019).

    Attributes:
        chain: The blocks of the network.
        between: Draws the other plans.
    """

    chain: Chain
    between: Draw

    def __call__(self, random: Random) -> list[Plan]:
        return [most_pruned(self.chain), *self.between(random)]


def most_pruned(chain: Chain) -> Plan:
    """Returns the plan that cuts every block in the last of its choices, which leaves least of it.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> from pruner.network.surgery import describe
        >>> from pruner.training.supernet import most_pruned
        >>> plan = most_pruned(describe(small_network()))
        >>> len(plan.choices), set(plan.choices.values())
        (8, {'drop'})
    """
    return chain.plan({block.name: block.choices[-1] for block in chain.blocks if block.choices[-1] != KEEP})


class SupernetObjective(Objective):
    """Learning of the uncut network and of random plans, over the same weights.

    At each step the uncut network learns from the labels. Every plan that is drawn learns from the labels and from the
    uncut network's answers of the same step (in-place distillation, Yu & Huang, ICCV 2019).

    Args:
        supernet: The network that learns.
        draw: Draws the plans of a step; None draws one random plan.
        temperature: What logits are divided by before a plan's answers are compared with the uncut network's.
        distill_loss_weight: The factor on the distance of the answers.
        smoothing: How much labels are softened, in [0, 1].
    """

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
        """Returns the loss of one batch, summed over the uncut network and the plans that are drawn."""
        whole = self._answers(Plan(self.network.chain.model), images)
        loss = task_loss(whole, targets, self.smoothing)
        for plan in self.draw(Random(train_step.entropy)):
            cut = self._answers(plan, images)
            taught = divergence(cut, whole.detach(), self.temperature)
            loss = loss + task_loss(cut, targets, self.smoothing) + self.distill_loss_weight * taught
        return loss

    def on_evaluate(self, network: nn.Module, train_step: TrainStep) -> None:
        """Selects the uncut network."""
        assert isinstance(network, Supernet)
        network.select(Plan(network.chain.model))

    def _answers(self, plan: Plan, images: Tensor) -> Tensor:
        self.network.select(plan)
        logits: Tensor = self.network(images)
        return logits


def freeze_backbone(supernet: Supernet) -> None:
    """Leaves only a few weights to be trained, in place, which is enough to rank plans.

    These are the BatchNorms that cut blocks switch to, the biases, and masks if there are any.
    """
    new = {id(parameter) for site in supernet.sites.values() for parameter in site.norms.parameters()}
    for name, parameter in supernet.named_parameters():
        learns = id(parameter) in new or name.endswith("bias") or name.startswith("masks.")
        parameter.requires_grad_(learns)


def trainable(network: nn.Module) -> int:
    """Returns how many numbers a training may change."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
