"""The stages that train: the uncut network itself if asked for, the weight-sharing one, and the plan's own."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from depthfinder.console import log
from depthfinder.pipeline.curves import told
from depthfinder.pipeline.fits import fit_images
from depthfinder.pipeline.ground import ground_of, strategy_of
from depthfinder.pipeline.plan_space import check_budget, limits_of, space_of
from depthfinder.pipeline.reuse import take_over
from depthfinder.pipeline.run import Run, load_trained
from depthfinder.pipeline.scoring import scorer
from latency.errors import DeviceMissingError
from pruner.choices.choice import MERGE, OWN_WEIGHTS
from pruner.errors import CheckpointError, SettingsError
from pruner.fitting.at_once import fit_own_layers
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.models.checkpoint import Checkpoint
from pruner.models.load import load_model_and_source
from pruner.network.surgery import Cut, apply
from pruner.training.blockwise import BlockTeaching
from pruner.training.loop import check_precision, fit
from pruner.training.norm_decay import NormDecay
from pruner.training.objective import Objective, Supervised, Teaching, frozen, light_copy
from pruner.training.optimizing import make_optimizer, make_scheduler
from pruner.training.pace import lost_before_training, paced
from pruner.training.pairs import learn_as_one, learn_as_pairs
from pruner.training.progressive import Closing, Progressive, calibrate_norms, finalize
from pruner.training.schedules import Schedule, from_the_end, least_harm_first, single_cuts
from pruner.training.settings import TrainSettings
from pruner.training.state import network_state
from pruner.training.supernet import Draw, RandomPlans, Sandwich, freeze_backbone, trainable
from search.draws import AroundTheLimits


def check_training(run: Run) -> None:
    """Finds out before any work whether networks can be trained as asked; raises the error of what cannot."""
    asked, settings = run.config, run.train_settings(1)
    if run.world.device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceMissingError(f"--train-device {asked.train.train_device}: torch sees no GPU here")
    check_precision(settings.precision, run.world)
    make_scheduler(make_optimizer(nn.Linear(1, 1), settings.optimizing), settings.optimizing, 1, 1)
    if asked.train.supernet_sampling == "latency" and not asked.measure.has_budget:
        raise SettingsError("--supernet-sampling latency draws plans around a budget: give one, or take random")
    if asked.train.kd_model_name is not None and asked.train.distill_loss_weight:
        _other_teacher(run, asked.train.kd_model_name)
    if asked.train.kd_model_name is not None and asked.train.block_loss_weight:
        raise SettingsError("--block-loss-weight learns from the uncut network: leave it out, or --kd-model-name")
    pairs = 2 * run.world.count
    if (asked.train.mixing.mixup or asked.train.mixing.cutmix) and asked.train.train_batch_size % pairs:
        raise SettingsError(f"images are mixed in pairs: --train-batch-size has to be a multiple of {pairs}")


def finetune_stage(run: Run) -> None:
    """The uncut network on these images, where its weights were learned on others."""
    settings = run.train_settings(run.config.train.finetune_epochs)
    if take_over(run, "finetune", settings):
        return
    objective = Supervised(copy.deepcopy(run.untuned).train(), smoothing=run.config.train.mixing.smoothing)
    train(run, "finetune", objective, settings)


def supernet_stage(run: Run) -> None:
    """The weight-sharing network that scores plans."""
    asked = run.config
    if asked.measure.has_budget:
        check_budget(run)
    settings = run.train_settings(asked.train.supernet_epochs)
    if take_over(run, "supernet", settings):
        return
    strategy, ground = strategy_of(run), ground_of(run)
    network = strategy.scoring_network(ground).to(run.world.device)
    everywhere = run.chain.plan({block.name: MERGE for block in run.chain.blocks if MERGE in block.choices})
    calibrate_norms(network, everywhere, run.data, settings)
    offered = {choice for block in network.chain.blocks for choice in block.choices}
    if not offered.isdisjoint(OWN_WEIGHTS) and run.checkpoint("supernet", settings).load() is None:
        images = fit_images(run)
        log.info("fitting what has weights of its own, on %s images without labels", f"{sum(map(len, images)):,}")
        fit_own_layers(network, (some.to(run.world.device) for some in images), sum(map(len, images)), run.watch)
    if asked.train.freeze_backbone:
        freeze_backbone(network)
        log.info("training %d of the supernet's weights: new BatchNorms and biases", trainable(network))
    train(run, "supernet", strategy.objective(ground, network, _draw(run)), settings)


def train_stage(run: Run) -> None:
    """The progressive training of the plan's network."""
    asked = run.config.train
    cut = begun(run)
    if not asked.progressive_epochs:
        checkpoint = run.checkpoint("progressive", run.train_settings(0))
        if run.world.is_main:
            checkpoint.save(Checkpoint(0, network_state(cut)))
        return
    settings = _paced(run, cut)
    learn_as_pairs(cut)
    objective = Progressive(cut, _teaching(run, cut), _closing(run, cut), smoothing=asked.mixing.smoothing)
    train(run, "progressive", objective, settings)


def begun(run: Run) -> Cut:
    """The plan's network before its training: BatchNorms where the baseline is, and its layers that are fitted, each to
    what the uncut network computes, for what the cuts before it leave it."""
    cut = apply(run.model, run.plan, merge_init=run.config.train.merge_init).to(run.world.device)
    calibrate_norms(cut, run.plan, run.data, run.train_settings(run.config.train.progressive_epochs))
    if cut.layers:
        fit_in_sequence(cut, [images.to(run.world.device) for images in fit_images(run)], run.watch)
    return cut


def _paced(run: Run, cut: Cut) -> TrainSettings:
    """How the plan's network learns: the slower, the less it loses before any training."""
    asked = run.config.train
    lost = lost_before_training(cut, light_copy(run.model).to(run.world.device), run.data, run.world)
    settings = paced(run.train_settings(asked.progressive_epochs), lost, asked.least_lr_share)
    if settings.optimizing.lr < asked.optimizing.lr:
        what = (
            "before any training the network loses %.2f points on calibration images: it learns at %.2g, %.0f%% of --lr"
        )
        log.info(what, 100 * lost, settings.optimizing.lr, 100 * settings.optimizing.lr / asked.optimizing.lr)
    return settings


def train(run: Run, name: str, objective: Objective, settings: TrainSettings) -> None:
    """One training of a run, from where it was left. Its checkpoint and its curves go by `name`."""
    with told(run, name) as watcher:
        fit(
            objective,
            run.data,
            settings,
            run.checkpoint(name, run.train_settings(settings.epochs)),
            run.watch,
            world=run.world,
            watcher=watcher,
            seconds_between_saves=60 * run.config.train.checkpoint_minutes,
        )


def _draw(run: Run) -> Draw:
    """The plans of a supernet step."""
    asked = run.config.train
    between: Draw = RandomPlans(run.chain, asked.supernet_plans)
    if asked.supernet_sampling == "latency":
        return AroundTheLimits(space_of(run, limits_of(run)), asked.supernet_plans)
    return Sandwich(run.chain, between) if asked.supernet_sampling == "sandwich" else between


def _teaching(run: Run, cut: Cut) -> Teaching | None:
    """What the plan's network learns from beside the labels."""
    asked = run.config.train
    if asked.block_loss_weight:
        teacher = light_copy(run.model)
        return BlockTeaching(
            cut, teacher, asked.kd_temperature, asked.distill_loss_weight, block_weight=asked.block_loss_weight
        )
    if not asked.distill_loss_weight:
        return None
    teacher = light_copy(run.model) if asked.kd_model_name is None else _other_teacher(run, asked.kd_model_name)
    return Teaching(teacher, asked.kd_temperature, asked.distill_loss_weight)


def _other_teacher(run: Run, name: str) -> nn.Module:
    """Raises `UnknownModelError`, and `CheckpointError` when there are no weights of it for these classes."""
    checkpoint = None if run.config.train.kd_checkpoint is None else Path(run.config.train.kd_checkpoint)
    channels, height, width = run.chain.input_size
    kwargs: dict[str, Any] = {"num_classes": run.data.num_classes, "img_size": (height, width), "in_chans": channels}
    teacher, source = load_model_and_source(name, pretrained=checkpoint is None, checkpoint=checkpoint, **kwargs)
    if source is not None and source.new_head:
        raise CheckpointError(f"{source.source} knows other classes than these {run.data.num_classes}: it cannot teach")
    return frozen(teacher)


def _closing(run: Run, cut: Cut) -> Closing:
    asked = run.config.train
    if asked.lambda_schedule == "decay":
        return NormDecay.of(cut, asked.closing_share)
    curve, order = asked.lambda_schedule, from_the_end(run.chain, run.plan)
    if curve == "score" and order:
        plans = single_cuts(run.plan)
        scores = scorer(run)(plans, -1.0)
        alone = {name: score.value for (name, _), score in zip(run.plan.choices.items(), scores, strict=True)}
        order = least_harm_first(run.plan, alone)
    return Schedule(order, "blocks" if curve == "score" else curve, asked.closing_share)


def closed(run: Run) -> Cut:
    """The cut network as its training left it, its gates closed; on the CPU, and the same each time it is asked for."""
    cut = apply(run.model, run.plan, merge_init=run.config.train.merge_init)
    settings = run.train_settings(run.config.train.progressive_epochs)
    if settings.epochs:
        learn_as_pairs(cut)
    load_trained(cut, run, "progressive", settings)
    learn_as_one(cut)
    cut = cut.to(run.world.device)
    finalize(cut, run.data, settings)
    return cut.cpu()
