"""Objectives: the losses that trainings minimise, each a module that holds the network in training."""

import copy
from abc import ABC, abstractmethod
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruner.algebra.answer import answer_of
from pruner.network.surgery import Cut, merge
from pruner.training.train_step import TrainStep

_TEMPERATURE: Final = 2.0


class Objective(nn.Module, ABC):
    """A loss over one network.

    It is one module with one forward pass, however often the network runs in it, because several processes share its
    gradients.

    Attributes:
        network: The network that learns.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def forward(self, images: Tensor, targets: Tensor, train_step: TrainStep) -> Tensor:
        """Returns the loss of one batch, a scalar.

        Args:
            images: (B, C, H, W), on the network's device.
            targets: Labels (B,), or the probabilities of the classes (B, classes).
            train_step: Which step of the training this is.
        """

    def on_gradients(self, train_step: TrainStep) -> None:
        """Looks at the gradients of a step, those of all processes together, before the weights are changed."""

    def note(self, train_step: TrainStep) -> str:
        """Returns what somebody who watches the training may want to know of this step besides the loss."""
        return ""

    def lam(self, train_step: TrainStep) -> float | None:
        """Returns the mean lambda of the gates that close in this training; None where none does."""
        return None

    def on_evaluate(self, network: nn.Module, train_step: TrainStep) -> None:
        """Puts the network into the state in which its accuracy after an epoch is measured.

        Args:
            network: The network that learns, or the moving average of it.
            train_step: The step that comes next.
        """


class Supervised(Objective):
    """Learning from labels, and from a teacher's answers where there is a teacher.

    Args:
        network: The network that learns.
        teaching: The distance from a teacher, which is added to the loss.
        smoothing: How much labels are softened, in [0, 1].
    """

    def __init__(self, network: nn.Module, teaching: "Teaching | None" = None, smoothing: float = 0.0) -> None:
        super().__init__(network)
        self.teaching = teaching
        self.smoothing = smoothing

    def forward(self, images: Tensor, targets: Tensor, train_step: TrainStep) -> Tensor:
        """Returns the loss of one batch: that of the labels, and that of the teacher."""
        logits = self.network(images)
        loss = task_loss(logits, targets, self.smoothing)
        return loss if self.teaching is None else loss + self.teaching(images, logits)


class Teaching(nn.Module):
    """How far a network's answers are from those of a teacher, which does not learn.

    Kullback-Leibler divergence of softened logits times T^2 (Hinton et al., 2015, section 2), times `weight`.
    """

    def __init__(self, teacher: nn.Module, temperature: float = _TEMPERATURE, weight: float = 1.0) -> None:
        """Takes a teacher that is frozen already, such as `light_copy` or `frozen` gives."""
        super().__init__()
        assert not any(parameter.requires_grad for parameter in teacher.parameters()), "a teacher does not learn"
        self.teacher = teacher.eval()
        self.temperature = temperature
        self.weight = weight

    def train(self, mode: bool = True) -> "Teaching":
        """Keeps the teacher in evaluation mode, whatever `mode` says."""
        return super().train(False)

    def forward(self, images: Tensor, logits: Tensor) -> Tensor:
        """Returns the distance of the answers from the teacher's on one batch.

        Args:
            images: (B, C, H, W), which the learning network has just run on.
            logits: (B, classes), what it answered.
        """
        with torch.no_grad():
            taught = answer_of(self.teacher(images))
        return self.weight * divergence(logits, taught, self.temperature)


def frozen(model: nn.Module) -> nn.Module:
    """Returns a copy of a network that does not learn, in evaluation mode."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def light_copy(model: nn.Module) -> nn.Module:
    """Returns a frozen copy of a network that can be cut, with its BatchNorms folded, in evaluation mode.

    It computes the same as the network up to rounding, and is faster.

    Example:
        >>> import torch
        >>> from depthfinder.testing.samples import small_network, some_images
        >>> from pruner.training.objective import light_copy
        >>> model, images = small_network(), some_images()
        >>> torch.allclose(light_copy(model)(images), model(images), atol=1e-4)
        True
    """
    whole = Cut(model, None)
    whole.set_lambda(0.0)
    return merge(whole.eval()).requires_grad_(False)


def task_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Returns the cross-entropy of a network's answers with the targets.

    Args:
        logits: (B, classes).
        targets: Labels (B,), which are softened here, or the probabilities of the classes (B, classes), which stay as
            they are.
        smoothing: How much labels are softened, in [0, 1].
    """
    return functional.cross_entropy(logits, targets, label_smoothing=0.0 if targets.is_floating_point() else smoothing)


def divergence(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Returns the Kullback-Leibler divergence of softened logits, times T^2 (Hinton et al., 2015, section 2).

    Args:
        logits: (B, classes), of the network that learns.
        teacher_logits: (B, classes).
        temperature: T, which both logits are divided by.

    Returns:
        The mean over the batch, 0 where both networks answer the same.

    Example:
        >>> import torch
        >>> from pruner.training.objective import divergence
        >>> logits, teacher_logits = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
        >>> round(float(divergence(logits, teacher_logits, temperature=2.0)), 3)
        1.848
        >>> float(divergence(logits, logits, temperature=2.0))
        0.0
    """
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
