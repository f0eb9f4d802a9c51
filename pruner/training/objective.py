"""What a step of training makes small: a module that holds the network in training and returns a loss."""

import copy
from abc import ABC, abstractmethod
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruner.choices.plan import Plan
from pruner.network.surgery import apply, describe, merge
from pruner.training.train_step import TrainStep

_TEMPERATURE: Final = 2.0


class Objective(nn.Module, ABC):
    """A loss over one network. Many processes share its gradients, for which it has to be one module with one forward
    pass, however often the network runs in it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def forward(self, images: Tensor, targets: Tensor, train_step: TrainStep) -> Tensor:
        """(images (B, C, H, W), labels (B,) or their probabilities (B, classes), moment) -> a scalar to make small."""

    def on_gradients(self, train_step: TrainStep) -> None:
        """Looks at the gradients of a step, those of all processes, before the weights take it."""

    def note(self, train_step: TrainStep) -> str:
        """What a person who watches wants to know of this moment, besides the loss."""
        return ""

    def lam(self, train_step: TrainStep) -> float | None:
        """The mean lambda of the gates that close in this training; None where none does."""
        return None

    def on_evaluate(self, network: nn.Module, train_step: TrainStep) -> None:
        """Makes `network`, this one or an average of it, what its accuracy after an epoch is told of."""


class Supervised(Objective):
    """Labels alone, or with a teacher's answers beside them."""

    def __init__(self, network: nn.Module, teaching: "Teaching | None" = None, smoothing: float = 0.0) -> None:
        super().__init__(network)
        self.teaching = teaching
        self.smoothing = smoothing

    def forward(self, images: Tensor, targets: Tensor, train_step: TrainStep) -> Tensor:
        logits = self.network(images)
        loss = task_loss(logits, targets, self.smoothing)
        return loss if self.teaching is None else loss + self.teaching(images, logits)


class Teaching(nn.Module):
    """How far a network's answers are from those of a teacher, which does not learn.

    Kullback-Leibler divergence of softened logits times T^2 (Hinton et al., 2015, section 2), times `weight`.
    """

    def __init__(self, teacher: nn.Module, temperature: float = _TEMPERATURE, weight: float = 1.0) -> None:
        """The teacher comes frozen, such as from `light_copy` or `frozen`."""
        super().__init__()
        assert not any(parameter.requires_grad for parameter in teacher.parameters()), "a teacher does not learn"
        self.teacher = teacher.eval()
        self.temperature = temperature
        self.weight = weight

    def train(self, mode: bool = True) -> "Teaching":
        """The teacher stays in evaluation."""
        return super().train(False)

    def forward(self, images: Tensor, logits: Tensor) -> Tensor:
        """Images (B, C, H, W), and what the network that learns answers to them, (B, classes)."""
        with torch.no_grad():
            taught = self.teacher(images)
        return self.weight * divergence(logits, taught, self.temperature)


def frozen(model: nn.Module) -> nn.Module:
    """A copy that does not learn, in evaluation."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def light_copy(model: nn.Module) -> nn.Module:
    """The same of a network that can be cut, with its BatchNorms folded: it computes the same to rounding, faster."""
    keep_all = Plan(model=describe(model).model)
    whole = apply(model, keep_all)
    whole.set_lambda(0.0)
    return merge(whole.eval()).requires_grad_(False)


def task_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with labels, which are softened here, or with probabilities, which are soft already."""
    return functional.cross_entropy(logits, targets, label_smoothing=0.0 if targets.is_floating_point() else smoothing)


def divergence(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened logits (B, classes), times T^2 (Hinton et al., 2015, section 2)."""
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
