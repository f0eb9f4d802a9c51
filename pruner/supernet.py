"""Training the weight-sharing network, so that any plan can be scored without being trained."""

from dataclasses import dataclass
from random import Random
from typing import Final

from torch import Tensor
from torch.nn import functional

from pruner.plan import Plan
from pruner.surgery import Supernet
from pruner.training import Moment, distillation

_DEEPEST_SHARE: Final = 0.75  # of the blocks cut in a training step; each step draws its share below this one


@dataclass(frozen=True)
class SupernetLoss:
    """Each step, the keep-all path learns from the labels, and a random plan learns from the labels and from the
    keep-all path of the same step (in-place distillation, Yu & Huang, ICCV 2019)."""

    supernet: Supernet
    temperature: float = 2.0

    def __call__(self, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        self.supernet.select(Plan(model=self.supernet.chain.model))
        whole = self.supernet(images)
        random = Random(moment.entropy)
        share = random.uniform(0.0, _DEEPEST_SHARE)
        self.supernet.select(self.supernet.chain.random_plan(share, random))
        cut = self.supernet(images)
        taught = distillation(cut, whole.detach(), self.temperature)
        return functional.cross_entropy(whole, labels) + functional.cross_entropy(cut, labels) + taught
