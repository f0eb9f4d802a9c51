"""Trains the network of a plan: how it begins, what it learns from, how its gates close, and how it ends."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from depthfinder.console import log
from depthfinder.pipeline.trainer import Trainer
from pruner.choices.chain import Chain
from pruner.choices.plan import Plan
from pruner.errors import CheckpointError
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.models.load import load_model_and_source
from pruner.network.surgery import Cut, apply
from pruner.training.blockwise import BlockTeaching
from pruner.training.norm_decay import NormDecay
from pruner.training.objective import Teaching, frozen
from pruner.training.pace import lost_before_training, paced
from pruner.training.pairs import learn_as_one, learn_as_pairs
from pruner.training.progressive import Closing, Progressive, calibrate_norms, finalize
from pruner.training.schedules import Schedule, from_the_end, least_harm_first
from pruner.training.settings import TrainSettings

ScoreAlone = Callable[[Plan], dict[str, float]]
"""Returns block -> the score of the network with that cut of a plan alone; higher is better."""


def begun(trainer: Trainer, model: nn.Module, plan: Plan) -> Cut:
    """Returns the network of a plan as it is before its training, on the trainer's device.

    Its BatchNorms are calibrated so that it begins near the baseline. Layers with weights of their own are fitted in
    sequence to the outputs of the uncut network, each on the inputs that the cuts before it produce.
    """
    cut = apply(model, plan, merge_init=trainer.asked.merge_init).to(trainer.device)
    calibrate_norms(cut, plan, trainer.data, trainer.settings(trainer.asked.progressive_epochs))
    if cut.layers:
        fit_in_sequence(
            cut, [images.to(trainer.device) for images in trainer.images_without_labels()], trainer.progress
        )
    return cut


def untrained(trainer: Trainer, cut: Cut) -> Cut:
    """Returns a copy of a network that `begun` made with its gates closed: the network without any training."""
    closed = copy.deepcopy(cut)
    finalize(closed, trainer.data, trainer.settings(0))
    return closed


def pace_of(trainer: Trainer, whole: nn.Module, cut: Cut) -> TrainSettings:
    """Returns the settings of the plan's training. The less the network loses before it, the lower the learning rate.

    Args:
        trainer: How it is trained.
        whole: The uncut network.
        cut: The network of the plan, as `begun` made it.
    """
    asked = trainer.asked
    lost = lost_before_training(cut, whole.to(trainer.device), trainer.data, trainer.world)
    settings = paced(trainer.settings(asked.progressive_epochs), lost, asked.least_lr_share)
    if settings.optimizing.lr < asked.optimizing.lr:
        what = (
            "before any training the network loses %.2f points on calibration images: it learns at %.2g, %.0f%% of --lr"
        )
        log.info(what, 100 * lost, settings.optimizing.lr, 100 * settings.optimizing.lr / asked.optimizing.lr)
    return settings


def learning(trainer: Trainer, whole: nn.Module, cut: Cut, score_alone: ScoreAlone | None = None) -> Progressive:
    """Returns the objective of the plan's progressive training.

    Args:
        trainer: How it is trained.
        whole: The uncut network, frozen, such as from `light_copy`. It is the teacher, unless another one was named.
        cut: The network of the plan, as `begun` made it. Its fitted convolutions become two in a row while they learn.
        score_alone: Scores the cuts one by one, for the schedule that closes the least harmful gate first.
    """
    learn_as_pairs(cut)
    closing = _closing(trainer, cut, score_alone)
    return Progressive(cut, _teaching(trainer, whole, cut), closing, smoothing=trainer.asked.mixing.smoothing)


def with_layers_as_trained(cut: Cut, epochs: int) -> Cut:
    """Gives a network the layers that it has in a training of so many epochs, so that trained weights can be loaded."""
    if epochs:
        learn_as_pairs(cut)
    return cut


def closed(trainer: Trainer, cut: Cut) -> Cut:
    """Closes the gates of a trained network and returns it on the CPU; the result is the same each time."""
    learn_as_one(cut)
    cut = cut.to(trainer.device)
    finalize(cut, trainer.data, trainer.settings(trainer.asked.progressive_epochs))
    return cut.cpu()


def other_teacher(trainer: Trainer, name: str) -> nn.Module:
    """Loads the network of that name as the teacher in place of the uncut network.

    Raises:
        UnknownModelError: when no model has this name.
        CheckpointError: when its weights are for other classes than those of the images.
    """
    checkpoint = None if trainer.asked.kd_checkpoint is None else Path(trainer.asked.kd_checkpoint)
    (channels, height, width), classes = trainer.data.input_size, trainer.data.num_classes
    kwargs: dict[str, Any] = {"num_classes": classes, "img_size": (height, width), "in_chans": channels}
    teacher, source = load_model_and_source(name, pretrained=checkpoint is None, checkpoint=checkpoint, **kwargs)
    if source is not None and source.new_head:
        raise CheckpointError(f"{source.source} knows other classes than these {classes}: it cannot teach")
    return frozen(teacher)


def _teaching(trainer: Trainer, whole: nn.Module, cut: Cut) -> Teaching | None:
    """The teaching that the plan's network learns from beside the labels."""
    asked = trainer.asked
    if asked.block_loss_weight:
        return BlockTeaching(
            cut,
            whole,
            asked.kd_temperature,
            asked.distill_loss_weight,
            block_weight=asked.block_loss_weight,
        )
    if not asked.distill_loss_weight:
        return None
    teacher = whole if asked.kd_model_name is None else other_teacher(trainer, asked.kd_model_name)
    return Teaching(teacher, asked.kd_temperature, asked.distill_loss_weight)


def _closing(trainer: Trainer, cut: Cut, score_alone: ScoreAlone | None) -> Closing:
    asked, chain, plan = trainer.asked, cut.chain, cut.plan
    if asked.lambda_schedule == "decay":
        return NormDecay.of(cut, asked.closing_share)
    order = _order(chain, plan, score_alone if asked.lambda_schedule == "score" else None)
    curve = "blocks" if asked.lambda_schedule == "score" else asked.lambda_schedule
    return Schedule(order, curve, asked.closing_share)


def _order(chain: Chain, plan: Plan, score_alone: ScoreAlone | None) -> tuple[str, ...]:
    """The order in which gates close: from the end, or the least harmful cut first."""
    order = from_the_end(chain, plan)
    return least_harm_first(plan, score_alone(plan)) if order and score_alone is not None else order
