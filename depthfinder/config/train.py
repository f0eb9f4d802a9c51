"""Settings of training, in timm's spelling where timm has one."""

import re
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from depthfinder.config.known import one_of
from profiles.option import CHECKED, Option
from pruner.choices.plan import MergeInit
from pruner.training.settings import (
    LEAST_LR_SHARE,
    PANEL,
    AmpDtype,
    Mixing,
    Optimizing,
    Precision,
    Processes,
    TrainSettings,
)

LAMBDA_SCHEDULES: Final = ("linear", "cosine", "blocks", "score", "decay")
SUPERNET_SAMPLINGS: Final = ("random", "sandwich", "latency")


_TRAIN_DEVICE: Final = re.compile(r"cpu|cuda(:\d+)?")


def _train_device(name: str | None) -> str | None:
    if name is not None and not _TRAIN_DEVICE.fullmatch(name):
        raise ValueError(f"{name}: there are cpu, cuda, and one of several GPUs, cuda:1")
    return name


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class TeachingConfig:
    """The teaching by the uncut network, which a network learns from beside the labels."""

    PANEL: ClassVar = PANEL

    kd_temperature: Annotated[
        float, Option("How much the uncut network's answers, which are learned, are softened."), Field(gt=0)
    ] = 2.0
    distill_loss_weight: Annotated[
        float, Option("Weight of those answers beside the labels; 0 is none."), Field(ge=0)
    ] = 1.0


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class LearningConfig(TeachingConfig):
    """Settings of every training of a run."""

    finetune_epochs: Annotated[
        int, Option("Epochs in which the uncut network itself is trained first; none by default."), Field(ge=0)
    ] = 0
    train_batch_size: Annotated[int, Option("Images that a training step takes, over all processes."), Field(ge=2)] = 64
    optimizing: Optimizing = Optimizing()
    mixing: Mixing = Mixing()
    model_ema: Annotated[bool, Option("End with a moving average of the weights.")] = False
    model_ema_decay: Annotated[float, Option("What the average keeps at each step."), Field(ge=0, le=1)] = 0.9998
    amp: Annotated[bool, Option("Compute in mixed precision.")] = False
    amp_dtype: Annotated[AmpDtype, Option("The lower precision.")] = "float16"
    train_channels_last: Annotated[bool, Option("Lay images out as NHWC while training.")] = False
    train_torchcompile: Annotated[bool, Option("Run what no gate reaches through torch.compile while training.")] = (
        False
    )
    train_device: Annotated[
        str | None,
        Option(
            "Where networks are trained: cpu, cuda, cuda:1; a GPU where there is one by default.", changes_nothing=True
        ),
        AfterValidator(_train_device),
    ] = None
    processes: Processes = Processes()
    checkpoint_minutes: Annotated[
        float, Option("The most that a kill loses of a training, in minutes.", changes_nothing=True), Field(gt=0)
    ] = 1.0
    log_tensorboard: Annotated[
        bool, Option("Write curves for TensorBoard too, to RUN/tensorboard.", changes_nothing=True)
    ] = False

    def settings(self, epochs: int, seed: int) -> TrainSettings:
        """Returns the settings of one training of so many epochs."""
        return TrainSettings(
            epochs=epochs,
            batch_size=self.train_batch_size,
            seed=seed,
            optimizing=self.optimizing,
            mixing=self.mixing,
            precision=Precision(
                amp=self.amp_dtype if self.amp else None,
                channels_last=self.train_channels_last,
                compiled=self.train_torchcompile,
            ),
            ema_decay=self.model_ema_decay if self.model_ema else None,
            processes=self.processes,
        )


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class SupernetConfig(LearningConfig):
    """Settings of the training of the supernet."""

    supernet_epochs: Annotated[
        int,
        Option("Epochs of the weight-sharing network; who asks for them has it score the plans."),
        Field(ge=1),
    ] = 2
    supernet_sampling: Annotated[
        str,
        Option("The plans a supernet step trains: random, sandwich, or latency (around the budget)."),
        AfterValidator(one_of("way of drawing plans", SUPERNET_SAMPLINGS)),
    ] = "random"
    supernet_plans: Annotated[int, Option("How many of them, beside the uncut network."), Field(ge=1)] = 1
    freeze_backbone: Annotated[
        bool, Option("Train only new BatchNorms and biases of the supernet: a quick ranking.")
    ] = False


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class TrainConfig(SupernetConfig):
    """All settings of training; its own are those of the network of the plan that was found."""

    progressive_epochs: Annotated[
        int, Option("Epochs of the plan's network; 0 leaves it as it was cut, or fitted."), Field(ge=0)
    ] = 8
    merge_init: Annotated[
        MergeInit,
        Option(
            "What merged blocks start from: folded, their own weights as the gates close; fitted, a layer fitted to "
            "them; auto, fitted for images and folded for tokens."
        ),
    ] = "auto"
    lambda_schedule: Annotated[
        str,
        Option("How gates close: linear, cosine, blocks (from the end), score (least harm first) or decay (by norm)."),
        AfterValidator(one_of("lambda schedule", LAMBDA_SCHEDULES)),
    ] = "linear"
    closing_share: Annotated[
        float,
        Option("The share of the progressive epochs after which all gates are closed."),
        Field(gt=0, le=1),
    ] = 0.3
    kd_model_name: Annotated[str | None, Option("The network whose answers are learned; the uncut one by default.")] = (
        None
    )
    kd_checkpoint: Annotated[str | None, Option("Its weights; those that timm publishes by default.")] = None
    block_loss_weight: Annotated[
        float,
        Option("Weight of what each layer in a block's place learns of that block's output; 0 is none."),
        Field(ge=0),
    ] = 0.0
    least_lr_share: Annotated[
        float,
        Option(
            "The share of --lr at which the plan's network learns if it loses nothing before any training; all of it "
            "from a point of accuracy on. 1 is all of it always."
        ),
        Field(gt=0, le=1),
    ] = LEAST_LR_SHARE
