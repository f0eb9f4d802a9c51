"""timm's optimizers, schedules, gradient clipping and mixing, made of our settings."""

from typing import Any

import torch
from torch import nn

from pruner._timm import Mixup, create_optimizer_v2, create_scheduler_v2, dispatch_clip_grad
from pruner.surgery import OpenNetwork
from pruner.training.settings import Mixing, Optimizing, SettingsError

_WARM_UP_SHARE = 0.05


def make_optimizer(network: nn.Module, asked: Optimizing) -> torch.optim.Optimizer:
    """The optimizer over what may be learned: decay for matrices alone, and what timm's network says of itself.

    Raises `SettingsError` for an optimizer that timm does not know.
    """
    # timm finds layers, and what is not to decay, by the names that its own networks have.
    timm_network = network.network if isinstance(network, OpenNetwork) else network
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            timm_network,
            opt=asked.opt,
            lr=asked.lr,
            weight_decay=asked.weight_decay,
            momentum=asked.momentum,
            layer_decay=asked.layer_decay,
        )
    except (AssertionError, ValueError) as error:
        raise SettingsError(f"timm makes no optimizer of --opt {asked.opt}: {error}") from error
    return optimizer


def make_scheduler(optimizer: torch.optim.Optimizer, asked: Optimizing, epochs: int, per_epoch: int) -> Any:
    """timm's scheduler, to be asked by the number of a step. It depends on that alone, so that it has no state to save.

    Raises `SettingsError` for one that timm does not know, or that goes by what was measured.
    """
    if asked.sched == "plateau":
        raise SettingsError("--sched plateau goes by accuracy, which a step does not know; take cosine, step or poly")
    warm_up = asked.warmup_epochs if asked.warmup_epochs is not None else _WARM_UP_SHARE * epochs
    try:
        scheduler, _ = create_scheduler_v2(
            optimizer,
            sched=asked.sched,
            num_epochs=epochs,
            warmup_epochs=warm_up,  # type: ignore[arg-type]  # timm multiplies it by the steps of an epoch
            warmup_lr=asked.warmup_lr,
            min_lr=asked.min_lr,
            step_on_epochs=False,
            updates_per_epoch=per_epoch,
        )
    except (AssertionError, ValueError) as error:
        raise SettingsError(f"timm makes no schedule of --sched {asked.sched}: {error}") from error
    return scheduler


def clip(network: nn.Module, asked: Optimizing) -> None:
    """Keeps the gradients within what was asked for."""
    if asked.clip_grad:
        learning = [parameter for parameter in network.parameters() if parameter.grad is not None]
        dispatch_clip_grad(learning, asked.clip_grad, mode=asked.clip_mode)


def make_mixup(asked: Mixing, num_classes: int) -> Any:
    """timm's Mixup, or None when nothing is to be mixed."""
    if not asked.is_on:
        return None
    return Mixup(
        mixup_alpha=asked.mixup,
        cutmix_alpha=asked.cutmix,
        prob=asked.mixup_prob,
        switch_prob=asked.mixup_switch_prob,
        mode=asked.mixup_mode,
        label_smoothing=asked.smoothing,
        num_classes=num_classes,
    )
