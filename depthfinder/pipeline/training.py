"""The stages that train: the uncut network if asked for, the supernet, and the network of the plan."""

import copy
import json
from typing import Final

import torch
from torch import nn

from depthfinder.pipeline.curves import told
from depthfinder.pipeline.ground import ground_of, strategy_of
from depthfinder.pipeline.held_out import held_out_accuracy
from depthfinder.pipeline.plan_space import check_budget, limits_of, space_of
from depthfinder.pipeline.plan_training import begun, closed, learning, other_teacher, pace_of, untrained
from depthfinder.pipeline.plan_training import with_layers_as_trained as as_trained
from depthfinder.pipeline.reuse import take_over
from depthfinder.pipeline.run import Run, load_trained
from depthfinder.pipeline.scoring import scorer
from depthfinder.pipeline.supernet_training import drawing, prepare
from latency.errors import DeviceMissingError
from profiles.files import write_whole
from pruner.choices.plan import Plan
from pruner.errors import SettingsError
from pruner.models.checkpoint import Checkpoint
from pruner.network.surgery import Cut, apply
from pruner.training.loop import check_precision
from pruner.training.objective import Objective, Supervised, light_copy
from pruner.training.optimizing import make_optimizer, make_scheduler
from pruner.training.schedules import single_cuts
from pruner.training.settings import TrainSettings
from pruner.training.state import network_state
from search.draws import AroundTheLimits

_UNTRAINED: Final = "untrained.json"
_PROGRESSIVE: Final = "progressive"


def check_training(run: Run) -> None:
    """Checks before any work that networks can be trained as asked.

    Raises:
        DeviceMissingError: when a GPU was asked for and torch sees none.
        SettingsError: for settings that do not go together.
        UnknownModelError: when no model has the name of the teacher.
        CheckpointError: when the weights of the teacher are for other classes.
    """
    asked, settings = run.config, run.train_settings(1)
    if run.world.device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceMissingError(f"--train-device {asked.train.train_device}: torch sees no GPU here")
    check_precision(settings.precision, run.world)
    make_scheduler(make_optimizer(nn.Linear(1, 1), settings.optimizing), settings.optimizing, 1, 1)
    if asked.train.supernet_sampling == "latency" and not asked.measure.has_budget:
        raise SettingsError("--supernet-sampling latency draws plans around a budget: give one, or take random")
    if asked.train.kd_model_name is not None and asked.train.distill_loss_weight:
        other_teacher(run.trainer, asked.train.kd_model_name)
    if asked.train.kd_model_name is not None and asked.train.block_loss_weight:
        raise SettingsError("--block-loss-weight learns from the uncut network: leave it out, or --kd-model-name")
    pairs = 2 * run.world.count
    if (asked.train.mixing.mixup or asked.train.mixing.cutmix) and asked.train.train_batch_size % pairs:
        raise SettingsError(f"images are mixed in pairs: --train-batch-size has to be a multiple of {pairs}")


def finetune_stage(run: Run) -> None:
    """Trains the uncut network on the images of the run."""
    settings = run.train_settings(run.config.train.finetune_epochs)
    if take_over("finetune", run.checkpoint("finetune", settings), run.folder, run.world):
        return
    objective = Supervised(copy.deepcopy(run.uncut.network).train(), smoothing=run.config.train.mixing.smoothing)
    train(run, "finetune", objective, settings)


def supernet_stage(run: Run) -> None:
    """Trains the supernet, which scores plans."""
    asked = run.config
    if asked.measure.has_budget:
        check_budget(run)
    settings = run.train_settings(asked.train.supernet_epochs)
    checkpoint = run.checkpoint("supernet", settings)
    if take_over("supernet", checkpoint, run.folder, run.world):
        return
    strategy, ground = strategy_of(run), ground_of(run)
    network = strategy.scoring_network(ground).to(run.world.device)
    prepare(run.trainer, network, goes_on=checkpoint.load() is not None)
    if asked.train.supernet_sampling == "latency":
        space = space_of(run, limits_of(run.targets))
        objective = strategy.objective(ground, network, AroundTheLimits(space, asked.train.supernet_plans))
    else:
        objective = strategy.objective(ground, network, drawing(asked.train, run.chain))
    train(run, "supernet", objective, settings)


def train_stage(run: Run) -> None:
    """Trains the network of the plan progressively, and notes its accuracy without training."""
    cut = begun(run.trainer, run.model, run.plan)
    _note_untrained(run, cut)
    if not run.config.train.progressive_epochs:
        checkpoint = run.checkpoint(_PROGRESSIVE, run.train_settings(0))
        if run.world.is_main:
            checkpoint.save(Checkpoint(0, network_state(cut)))
        return
    whole = light_copy(run.model)
    settings = pace_of(run.trainer, whole, cut)
    train(run, _PROGRESSIVE, learning(run.trainer, whole, cut, lambda plan: _alone(run, plan)), settings)


def train(run: Run, name: str, objective: Objective, settings: TrainSettings) -> None:
    """Carries out one training of a run, and goes on from its checkpoint if there is one.

    Args:
        run: The run.
        name: The name of its checkpoint and of its curves.
        objective: The network, and what it is trained for.
        settings: The settings of the training.
    """
    on_tensorboard = run.config.train.log_tensorboard
    with told(name, run.folder, is_main=run.world.is_main, on_tensorboard=on_tensorboard) as watcher:
        run.trainer.train(objective, settings, run.checkpoint(name, run.train_settings(settings.epochs)), watcher)


def trained(run: Run) -> Cut:
    """Returns the network of the plan after its training, with its gates closed, on the CPU; the same each time."""
    settings = run.train_settings(run.config.train.progressive_epochs)
    cut = as_trained(apply(run.model, run.plan, merge_init=run.config.train.merge_init), settings.epochs)
    load_trained(cut, run.checkpoint(_PROGRESSIVE, settings))
    return closed(run.trainer, cut)


def untrained_accuracy(run: Run) -> float:
    """Returns the accuracy of the plan's network in [0, 1] on the held-out images before its training."""
    if not run.folder[_UNTRAINED].exists():  # an earlier version trained it, and did not note this
        _note_untrained(run, begun(run.trainer, run.model, run.plan))
    return float(json.loads(run.folder[_UNTRAINED].read_text(encoding="utf-8"))["accuracy"])


def _note_untrained(run: Run, cut: Cut) -> None:
    """Writes the accuracy of a network that `begun` made, with its gates closed, to a file."""
    if not run.world.is_main or run.folder[_UNTRAINED].exists():
        return
    accuracy = held_out_accuracy(untrained(run.trainer, cut), run.data, run.world.device)
    write_whole(run.folder[_UNTRAINED], json.dumps({"accuracy": accuracy}) + "\n")


def _alone(run: Run, plan: Plan) -> dict[str, float]:
    """Block -> the score of the network with the plan's cut there alone."""
    scores = scorer(run)(single_cuts(plan), -1.0)
    return {name: score.value for name, score in zip(plan.choices, scores, strict=True)}
