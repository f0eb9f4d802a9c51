"""Trains from Python what a search needs: the supernet that scores plans, and the network of a plan."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from depthfinder.config.data import DataConfig
from depthfinder.config.files import check_names, checked
from depthfinder.config.search import FitConfig
from depthfinder.config.train import SupernetConfig, TrainConfig
from depthfinder.pipeline.datasets import build_data, find_catalogue
from depthfinder.pipeline.plan_training import begun, closed, learning, pace_of
from depthfinder.pipeline.supernet_training import drawing, prepare
from depthfinder.pipeline.trainer import Trainer
from pruner.choices.plan import Plan
from pruner.data.images import ImageData
from pruner.errors import SettingsError
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import Cut, Supernet, describe
from pruner.network.surgery import supernet as opened_supernet
from pruner.progress import Progress, silent
from pruner.training.curve import nobody
from pruner.training.objective import light_copy
from pruner.training.supernet import SupernetObjective
from pruner.training.world import alone


def images(model: nn.Module, **settings: Any) -> ImageData:
    """Loads the images that a network is trained and judged on, in three splits that share no image.

    Args:
        model: The network. The images have its size, and are normalised as for its training.
        settings: What `depthfinder run --help-all` lists under "Images", by its names with underscores: `dataset`,
            `data_dir`, `train_split` and so on.

    Raises:
        DataError: when there is no such data set, or its images do not fit the network.
        SettingsError: for an unknown setting, or a value that is refused.

    Example:
        >>> import depthfinder as df
        >>> digits = df.images(df.load_model("deit_digits"), dataset="digits")
        >>> digits.num_classes, digits.input_size
        (10, (3, 32, 32))
    """
    check_names(settings, DataConfig)
    asked = checked(DataConfig, settings)
    if asked.skip_bad_images:
        raise SettingsError("--skip-bad-images lists images in a run's folder: df.run takes it")
    return build_data(asked, find_catalogue(asked), model, describe(model), Path(), silent)


def train_supernet(
    model: nn.Module,
    images: ImageData,
    *,
    extra_choices: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
    **settings: Any,
) -> Supernet:
    """Trains the weight-sharing network of all plans, in which `df.Evaluator` scores each plan.

    Args:
        model: The uncut network, with its weights.
        images: The data set that it is trained on, such as `df.images(...)`.
        extra_choices: Names of choices that blocks have on request, to be offered like any other.
        seed: Decides everything that is drawn at random.
        progress: Called as `progress(step, steps, note)`.
        settings: What `depthfinder run --help-all` lists of a supernet and its training, by its names with underscores:
            `supernet_epochs`, `supernet_sampling`, `lr`, `train_batch_size` and so on.

    Returns:
        The trained network, on the CPU and in evaluation mode.

    Raises:
        SettingsError: for an unknown setting, or a value that is refused.
        TrainingError: when the loss is not finite.

    Example:
        >>> import depthfinder as df
        >>> model = df.load_model("deit_digits", depth=2)
        >>> digits = df.images(model, dataset="digits")
        >>> df.train_supernet(model, digits, supernet_epoch=1)
        Traceback (most recent call last):
        pruner.errors.SettingsError: no setting is called 'supernet_epoch'; nearest: supernet_epochs
    """
    check_names(settings, SupernetConfig, FitConfig)
    trainer = _trainer(settings, seed, images, progress)
    asked = trainer.asked
    if asked.supernet_sampling == "latency":
        raise SettingsError("--supernet-sampling latency draws plans around a budget: df.run takes it")
    network = opened_supernet(model, extra_choices).to(trainer.device)
    prepare(trainer, network)
    teaching = asked.kd_temperature, asked.distill_loss_weight, asked.mixing.smoothing
    objective = SupernetObjective(network, drawing(asked, network.chain), *teaching)
    with tempfile.TemporaryDirectory() as folder:
        file = CheckpointFile(Path(folder) / "supernet.safetensors", "a supernet")
        trainer.train(objective, trainer.settings(asked.supernet_epochs), file, nobody)
    return network.cpu().eval()


def finetune(
    model: nn.Module,
    plan: Plan,
    images: ImageData,
    *,
    seed: int = 0,
    progress: Progress = silent,
    **settings: Any,
) -> Cut:
    """Trains the network of a plan progressively, and closes its gates, so that `df.merge` can merge it.

    Args:
        model: The uncut network, with its weights. It teaches the network of the plan.
        plan: The plan.
        images: The data set that it is trained on, such as `df.images(...)`.
        seed: Decides everything that is drawn at random.
        progress: Called as `progress(step, steps, note)`.
        settings: What `depthfinder run --help-all` lists of the training of a plan's network, by its names with
            underscores: `progressive_epochs`, `lambda_schedule`, `lr`, `merge_init` and so on.

    Returns:
        The trained network at lambda 0, on the CPU and in evaluation mode.

    Raises:
        SettingsError: for an unknown setting, or a value that is refused.
        PlanError: when the plan does not fit the network.
        TrainingError: when the loss is not finite.

    Example:
        >>> import depthfinder as df
        >>> model = df.load_model("deit_digits", depth=2)
        >>> digits = df.images(model, dataset="digits")
        >>> cut = df.finetune(model, df.Plan("deit_digits", {"blocks.1.mlp": "merge"}), digits, progressive_epochs=0)
        >>> df.merge(cut)(next(digits.test_batches(batch_size=2))[0]).shape
        torch.Size([2, 10])
    """
    check_names(settings, TrainConfig, FitConfig)
    trainer = _trainer(settings, seed, images, progress)
    asked = trainer.asked
    if asked.lambda_schedule == "score":
        raise SettingsError("--lambda-schedule score takes what scored the plans: df.run takes it")
    cut = begun(trainer, model, plan)
    if asked.progressive_epochs:
        whole = light_copy(model)
        settings_at_pace = pace_of(trainer, whole, cut)
        objective = learning(trainer, whole, cut)
        with tempfile.TemporaryDirectory() as folder:
            file = CheckpointFile(Path(folder) / "progressive.safetensors", "a plan's network")
            trainer.train(objective, settings_at_pace, file, nobody)
    return closed(trainer, cut).eval()


def _trainer(settings: Mapping[str, Any], seed: int, images: ImageData, progress: Progress) -> Trainer:
    """A trainer in this process alone, on the device that was asked for; by default on a GPU where there is one."""
    asked, fitting = checked(TrainConfig, settings), checked(FitConfig, settings)
    return Trainer(asked, seed, images, fitting.fit_images, alone(asked.train_device), progress)
