"""One training loop for every stage: an objective, a data set, and a state that can be saved and resumed.

What is drawn at random in a step depends on the seed and the step's number alone. So a training that was stopped and
resumed computes, bit for bit on one machine, what it would have computed without the stop.
"""

import dataclasses
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pruner._timm import ModelEmaV3, distribute_bn
from pruner.choices.site import Site
from pruner.data.images import Batch, ImageData
from pruner.errors import PeerLostError, SettingsError, TrainingError
from pruner.models.checkpoint import Checkpoint, CheckpointFile
from pruner.network.surgery import OpenNetwork
from pruner.progress import Progress
from pruner.training.accuracy import accuracy
from pruner.training.curve import Epoch, Watcher, nobody
from pruner.training.objective import Objective
from pruner.training.optimizing import clip, make_mixup, make_optimizer, make_scheduler
from pruner.training.settings import Precision, TrainSettings
from pruner.training.state import load_network, load_part, network_state, optimizer_state, restore_optimizer
from pruner.training.synced import synced_batch_norm
from pruner.training.train_step import TrainStep
from pruner.training.world import World, alone, losing_a_peer

_EVALUATION_BATCH = 128
_SECONDS_BETWEEN_SAVES = 60.0


def fit(
    objective: Objective,
    data: ImageData,
    settings: TrainSettings,
    checkpoints: CheckpointFile,
    progress: Progress,
    *,
    world: World | None = None,
    watcher: Watcher = nobody,
    seconds_between_saves: float = _SECONDS_BETWEEN_SAVES,
) -> tuple[Epoch, ...]:
    """Trains the objective's network in place, from its newest checkpoint if there is one.

    The processes of the `world` share every step, and the first of them saves. When `progress` raises, the step just
    finished is saved first, and all processes stop.

    Args:
        objective: The loss, with the network that learns. Both are moved to the device of the `world`.
        data: The images to train on, and those that the accuracy after each epoch is measured on.
        settings: How to train.
        checkpoints: Where the state of the training is kept.
        progress: Is told after every step how many are done; it may raise, to stop the training.
        world: The processes that train together; None for this one alone, on the CPU.
        watcher: Is called after every epoch with all epochs so far.
        seconds_between_saves: The least time between two saves while the training goes on.

    Returns:
        All epochs of the training, with those before it was resumed.

    Raises:
        TrainingError: when the loss is not finite. The last checkpoint stays as it was.
        PeerLostError: when another process is gone or was told to stop.
        SettingsError: when timm knows no such optimizer or schedule, or the device cannot compute in such a precision.
        CheckpointError: when there are checkpoints, but none is whole, or they are of another training.
    """
    return _Training(objective, data, settings, checkpoints, world or alone(), seconds_between_saves).run(
        progress, watcher
    )


class _Training:
    def __init__(
        self,
        objective: Objective,
        data: ImageData,
        settings: TrainSettings,
        checkpoints: CheckpointFile,
        world: World,
        seconds_between_saves: float,
    ) -> None:
        self._objective, self._network, self._data = objective, objective.network, data
        self._settings, self._checkpoints, self._world = settings, checkpoints, world
        self._patience_s = seconds_between_saves
        precision = settings.precision
        check_precision(precision, world)
        objective.to(world.device)
        if precision.channels_last:
            objective.to(memory_format=torch.channels_last)
        self._per_epoch = data.steps_per_epoch(settings.batch_size)
        self._total = settings.epochs * self._per_epoch
        self._optimizer = make_optimizer(self._network, settings.optimizing)
        self._scheduler = make_scheduler(self._optimizer, settings.optimizing, settings.epochs, self._per_epoch)
        self._mixup = make_mixup(settings.mixing, data.num_classes)
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=precision.amp == "float16")
        self._average = None if settings.ema_decay is None else ModelEmaV3(self._network, settings.ema_decay)
        self._epochs: list[Epoch] = []
        self._loss_so_far = self._seconds_so_far = 0.0
        self._step = self._restore()
        if precision.compiled:
            _compile(self._network)
        self._module: nn.Module = objective
        if world.count > 1:
            # Which weights a step uses differs from plan to plan. Running statistics are averaged after epochs.
            with warnings.catch_warnings(), losing_a_peer():
                warnings.simplefilter("ignore", FutureWarning)  # `forward_sync_buffers` is not in every torch we take
                self._module = DistributedDataParallel(
                    objective, find_unused_parameters=True, broadcast_buffers=False, gradient_as_bucket_view=True
                )

    def run(self, progress: Progress, watcher: Watcher) -> tuple[Epoch, ...]:
        saved_at, begun = time.monotonic(), self._step
        self._objective.train()
        while self._step < self._total:
            epoch = self._step // self._per_epoch
            began = time.monotonic()  # reading a batch is part of its step
            for batch in self._batches(epoch):
                loss = self._take_step(batch)
                self._loss_so_far += loss
                self._seconds_so_far += time.monotonic() - began
                self._step += 1
                done = self._step % self._per_epoch == 0
                if done:
                    self._end_epoch(epoch, watcher)
                note = f"epoch {epoch + 1}/{self._settings.epochs}, loss {loss:.3f}"
                stopped = self._told(progress, f"{note}, {self._objective.note(self._train_step)}".rstrip(", "))
                if stopped is not None or time.monotonic() - saved_at > self._patience_s:
                    self._save()
                    saved_at = time.monotonic()
                if stopped is not None:
                    raise stopped
                began = time.monotonic()
        if self._step > begun:
            self._save()
        if self._average is not None:
            load_part(self._network, network_state(self._average.module), "network")
        self._objective.eval()
        return tuple(self._epochs)

    @property
    def _train_step(self) -> TrainStep:
        return TrainStep(self._step, self._total, self._settings.seed)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        return self._data.train_batches(
            epoch=epoch,
            batch_size=self._settings.batch_size,
            seed=self._settings.seed,
            start=self._step % self._per_epoch,
            part=self._world.part,
        )

    def _take_step(self, batch: Batch) -> float:
        """One step of the optimizer; the mean loss over all processes."""
        train_step, optimizing = self._train_step, self._settings.optimizing
        train_step.seed_everything(self._world.rank)
        self._scheduler.step_update(train_step.index)
        images, targets = self._prepared(batch)
        parts = list(
            zip(images.chunk(optimizing.grad_accum_steps), targets.chunk(optimizing.grad_accum_steps), strict=True)
        )
        self._optimizer.zero_grad()
        loss = torch.zeros((), device=self._world.device)
        with losing_a_peer():
            for place, (some, answers) in enumerate(parts):
                with self._gradients_of_all(place == len(parts) - 1):
                    with self._forward_pass():
                        value = self._module(some, answers, train_step) * (len(some) / len(images))
                    self._scaler.scale(value).backward()
                loss += value.detach()
        mean = float(self._world.sum(loss.float().cpu()[None])) / self._world.count
        if not torch.isfinite(torch.tensor(mean)):
            raise TrainingError(f"the loss is {mean} at step {train_step.index}; try a lower --lr")
        self._scaler.unscale_(self._optimizer)
        self._objective.on_gradients(train_step)
        clip(self._network, optimizing)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update(self._network, step=train_step.index + 1)
        return mean

    def _prepared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch on its device, mixed if that was asked for, in its layout."""
        device = self._world.device
        images, targets = (tensor.to(device, non_blocking=True) for tensor in batch)
        if self._mixup is not None:
            images, targets = self._mixup(images, targets)
        if self._settings.precision.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return images, targets

    @contextmanager
    def _forward_pass(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self._settings.precision.amp is not None:
                dtype = getattr(torch, self._settings.precision.amp)
                stack.enter_context(torch.autocast(self._world.device.type, dtype=dtype))
            if self._settings.processes.sync_bn and self._world.count > 1:
                stack.enter_context(synced_batch_norm())
            yield

    def _gradients_of_all(self, last: bool) -> Any:
        """The context of one part of a step: only the last part sends gradients to the other processes."""
        return nullcontext() if last or self._world.count == 1 else self._module.no_sync()  # type: ignore[operator]

    def _told(self, progress: Progress, note: str) -> BaseException | None:
        """Reports the progress; returns what stops the training, here or in another process, or None."""
        stopped: BaseException | None = None
        try:
            progress(self._step, self._total, note)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is raised again when all is saved
            stopped = error
        if self._world.sum(torch.tensor([float(stopped is not None)])) > 0 and stopped is None:
            stopped = PeerLostError("another process of this training was told to stop; all is saved")
        return stopped

    def _end_epoch(self, index: int, watcher: Watcher) -> None:
        how = self._settings.processes
        if self._world.count > 1 and how.dist_bn != "none" and not how.sync_bn:
            with losing_a_peer():
                distribute_bn(self._network, self._world.count, reduce=how.dist_bn == "reduce")
        judged = self._network if self._average is None else self._average.module
        self._objective.on_evaluate(judged, self._train_step)
        batches = self._data.calibration_batches(batch_size=_EVALUATION_BATCH, part=self._world.part)
        images = self._per_epoch * self._settings.batch_size
        self._epochs.append(
            Epoch(
                index=index + 1,
                epochs=self._settings.epochs,
                loss=self._loss_so_far / self._per_epoch,
                lr=max(group["lr"] / group.get("lr_scale", 1.0) for group in self._optimizer.param_groups),
                accuracy=accuracy(judged, batches, self._world),
                seconds=self._seconds_so_far,
                images_per_s=images / self._seconds_so_far,
                note=self._objective.note(self._train_step),
                lam=self._objective.lam(self._train_step),
            )
        )
        self._loss_so_far = self._seconds_so_far = 0.0
        watcher(tuple(self._epochs))

    def _save(self) -> None:
        if not self._world.is_main:
            return
        tensors, remembered = optimizer_state(self._optimizer)
        tensors |= network_state(self._network)
        if self._average is not None:
            tensors |= network_state(self._average.module, "average")
        facts = {
            "optimizer": remembered,
            "scaler": self._scaler.state_dict(),
            "epochs": [dataclasses.asdict(epoch) for epoch in self._epochs],
            "loss_so_far": self._loss_so_far,
            "seconds_so_far": self._seconds_so_far,
        }
        self._checkpoints.save(Checkpoint(self._step, tensors, facts))

    def _restore(self) -> int:
        checkpoint = self._checkpoints.load()
        if checkpoint is None:
            return 0
        facts = checkpoint.facts
        load_part(self._network, checkpoint.tensors, "network")
        restore_optimizer(self._optimizer, checkpoint)
        if facts["scaler"]:
            self._scaler.load_state_dict(dict(facts["scaler"]))
        if self._average is not None:
            load_network(self._average.module, checkpoint)
        self._epochs = [Epoch(**epoch) for epoch in facts["epochs"]]
        self._loss_so_far, self._seconds_so_far = facts["loss_so_far"], facts["seconds_so_far"]
        return checkpoint.step


def check_precision(precision: Precision, world: World) -> None:
    """Raises `SettingsError` where the device of the world cannot compute in this precision."""
    if precision.amp == "float16" and world.device.type == "cpu":
        raise SettingsError("float16 is for GPUs: on a processor try --amp-dtype bfloat16")


def _compile(network: nn.Module) -> None:
    """Compiles all that no gate is part of: a gate that moves would have everything compiled again at each step."""
    if not isinstance(network, OpenNetwork):
        network.compile()
        return
    for part in network.parts():
        (part.module.kept if isinstance(part.module, Site) else part.module).compile()
