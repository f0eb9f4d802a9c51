"""One training loop for every stage: a network, a loss, a data set, and a state that can be left and taken up again.

Whatever is drawn at random in a step depends on the seed and the step's number alone, so a training that was stopped
and taken up again computes, bit for bit on one machine, what it would have computed undisturbed.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruner.checkpoint import Checkpoint, CheckpointFile
from pruner.data.images import Batch, ImageData, generator
from pruner.progress import Progress


class TrainingError(RuntimeError):
    """The loss is no number any more."""


@dataclass(frozen=True)
class TrainSettings:
    """AdamW under a cosine with warm-up; `seconds_between_saves` is the most that a kill loses."""

    epochs: int
    batch_size: int = 64
    learning_rate: float = 5e-4
    weight_decay: float = 0.03
    warm_up_share: float = 0.05
    clip_norm: float = 1.0
    seed: int = 0
    seconds_between_saves: float = 15.0


@dataclass(frozen=True)
class Moment:
    """One step of a training: `index` of `total`, and the randomness that belongs to it."""

    index: int
    total: int
    seed: int

    @property
    def share(self) -> float:
        """How much of the training is behind, in [0, 1)."""
        return self.index / self.total

    @property
    def entropy(self) -> int:
        """A number to seed this step's randomness with: its own, and the same whenever the step is taken."""
        return generator(self.seed, self.index).initial_seed()


Loss = Callable[[Tensor, Tensor, Moment], Tensor]
"""(images (B, C, H, W), labels (B,), moment) -> a scalar to be made small."""


def fit(
    network: nn.Module,
    loss: Loss,
    data: ImageData,
    settings: TrainSettings,
    checkpoints: CheckpointFile,
    progress: Progress,
) -> None:
    """Trains `network` in place, from its newest checkpoint if there is one.

    When `progress` raises, the step just finished is saved first. Raises `TrainingError` when the loss is not finite;
    the last checkpoint stays as it was.
    """
    per_epoch = data.steps_per_epoch(settings.batch_size)
    total = settings.epochs * per_epoch
    optimizer = torch.optim.AdamW(_parameter_groups(network, settings), lr=settings.learning_rate)
    step = _restore(network, optimizer, checkpoints)
    saved_at = time.monotonic()
    network.train()
    while step < total:
        epoch, done_in_epoch = divmod(step, per_epoch)
        batches = data.train_batches(epoch=epoch, batch_size=settings.batch_size, seed=settings.seed)
        for images, labels in itertools.islice(batches, done_in_epoch, None):
            _take_step(network, optimizer, loss, (images, labels), Moment(step, total, settings.seed), settings)
            step += 1
            try:
                progress(step, total, f"epoch {epoch + 1}/{settings.epochs}")
            except BaseException:
                _save(network, optimizer, checkpoints, step)
                raise
            if time.monotonic() - saved_at > settings.seconds_between_saves:
                _save(network, optimizer, checkpoints, step)
                saved_at = time.monotonic()
    _save(network, optimizer, checkpoints, step)
    network.eval()


def _take_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    batch: Batch,
    moment: Moment,
    settings: TrainSettings,
) -> None:
    # Dropout and stochastic depth draw from the global generator: tie it to the step as well.
    torch.manual_seed(moment.entropy)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * _rate(moment, settings.warm_up_share)
    value = loss(*batch, moment)
    if not torch.isfinite(value):
        raise TrainingError(f"the loss is {value.item()} at step {moment.index}; try a lower --lr")
    optimizer.zero_grad()
    value.backward()
    nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
    optimizer.step()


def _rate(moment: Moment, warm_up_share: float) -> float:
    warm_up = (moment.index + 1) / max(1.0, warm_up_share * moment.total)
    return min(1.0, warm_up) * 0.5 * (1 + math.cos(math.pi * moment.share))


def _parameter_groups(network: nn.Module, settings: TrainSettings) -> list[dict[str, object]]:
    """Weight decay for matrices alone: not for biases, norms and scales."""
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _save(network: nn.Module, optimizer: torch.optim.Optimizer, checkpoints: CheckpointFile, step: int) -> None:
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
    checkpoints.save(Checkpoint(step, tensors))


def _restore(network: nn.Module, optimizer: torch.optim.Optimizer, checkpoints: CheckpointFile) -> int:
    checkpoint = checkpoints.load()
    if checkpoint is None:
        return 0
    load_network(network, checkpoint)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in checkpoint.tensors.items():
        if name.startswith("optimizer."):
            _, index, leaf = name.split(".", 2)
            state.setdefault(int(index), {})[leaf] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return checkpoint.step


def load_network(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Puts the weights of a checkpoint into the network they were saved from."""
    prefix = "network."
    weights = {name.removeprefix(prefix): t for name, t in checkpoint.tensors.items() if name.startswith(prefix)}
    network.load_state_dict(weights)


def distillation(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened logits (B, classes), times T^2 (Hinton et al., 2015, section 2)."""
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    divergence = functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


@torch.inference_mode()
def accuracy(network: nn.Module, batches: Iterable[Batch]) -> float:
    """Top-1 accuracy in [0, 1] over all images of `batches`, in evaluation mode."""
    was_training = network.training
    network.eval()
    hits = images_seen = 0
    for images, labels in batches:
        hits += int((network(images).argmax(dim=1) == labels).sum())
        images_seen += len(labels)
    network.train(was_training)
    return hits / images_seen
