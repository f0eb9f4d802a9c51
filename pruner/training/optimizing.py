"""Makes timm's optimizers, schedules, gradient clipping and mixing of this package's settings."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from pruner._timm import Mixup, create_optimizer_v2, create_scheduler_v2, dispatch_clip_grad
from pruner.errors import SettingsError
from pruner.network.surgery import OpenNetwork
from pruner.training.settings import Mixing, Optimizing

_WARM_UP_SHARE = 0.05


@runtime_checkable
class LearnsMasks(Protocol):
    """A network that learns masks besides its weights.

    The numbers behind the masks learn at `mask_lr_scale` times the learning rate. They have no weight decay, because a
    common shift of them changes nothing. Their gradients are not clipped, because they shrink by themselves as the
    masks harden.

    Attributes:
        network: The network that holds the weights.
        masks: The numbers behind the masks.
        mask_lr_scale: The factor on the learning rate of the masks.
    """

    network: nn.Module
    masks: nn.ParameterDict
    mask_lr_scale: float


def make_optimizer(network: nn.Module, asked: Optimizing) -> torch.optim.Optimizer:
    """Makes the optimizer of a network.

    Only matrices have weight decay, apart from what timm's network excludes itself.

    Args:
        network: The network that learns: timm's, an opened one, or one that learns masks.
        asked: Which optimizer, and how it is set.

    Raises:
        SettingsError: when timm does not know the optimizer.
    """
    # timm finds layers, and what is not to decay, by the names that its own networks have.
    timm_network = network.network if isinstance(network, OpenNetwork | LearnsMasks) else network
    assert isinstance(timm_network, nn.Module)
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
    if isinstance(network, LearnsMasks):
        masks = list(network.masks.values())
        # timm's schedules multiply by `lr_scale`; the group begins at the rate of the others.
        optimizer.add_param_group({"params": masks, "weight_decay": 0.0, "lr_scale": network.mask_lr_scale})
    return optimizer


def make_scheduler(optimizer: torch.optim.Optimizer, asked: Optimizing, epochs: int, per_epoch: int) -> Any:
    """Makes timm's scheduler of the learning rate, which is asked by the number of a step.

    It depends on that number alone, so it has no state to save.

    Args:
        optimizer: The optimizer whose learning rate it sets.
        asked: Which schedule, and how it is set.
        epochs: How many epochs the training has.
        per_epoch: How many steps an epoch has.

    Raises:
        SettingsError: when timm does not know the schedule, or the schedule goes by what was measured.
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
    """Clips the gradients as was asked for, but for those of masks."""
    if asked.clip_grad:
        masks = {id(mask) for mask in network.masks.values()} if isinstance(network, LearnsMasks) else set()
        learning = [one for one in network.parameters() if one.grad is not None and id(one) not in masks]
        dispatch_clip_grad(learning, asked.clip_grad, mode=asked.clip_mode)


def make_mixup(asked: Mixing, num_classes: int) -> Any:
    """Returns timm's Mixup; None when nothing is to be mixed."""
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
