"""Settings of a training, as plain data, with timm's names where timm has one."""

import dataclasses
from dataclasses import field
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from profiles.option import CHECKED, Option

PANEL: Final = "Training"

AmpDtype = Literal["float16", "bfloat16"]
LEAST_LR_SHARE: Final = 0.2
"""The share of the learning rate that is left for a network that loses nothing before any training (`pace.py`)."""


@dataclass(frozen=True, config=CHECKED)
class Optimizing:
    """The optimizer and the learning rate over time, with timm's names (`timm.optim`, `timm.scheduler`).

    Attributes:
        warmup_epochs: The epochs in which the learning rate rises; None is a twentieth of the training.
        layer_decay: The factor on the learning rate for every layer between a weight and the head; None for no such
            factor.
        clip_grad: The most that gradients may be, in the sense of `clip_mode`; 0 does not clip.
        grad_accum_steps: How many parts a step's batch is run in, one after another.
    """

    PANEL: ClassVar = PANEL

    lr: Annotated[float, Option("Peak learning rate."), Field(gt=0)] = 5e-4
    opt: Annotated[str, Option("Optimizer, by timm's name: adamw, sgd, lamb, lion ...")] = "adamw"
    weight_decay: Annotated[
        float, Option("Weight decay of matrices; biases, norms and scales have none."), Field(ge=0)
    ] = 0.03
    momentum: Annotated[float, Option("Momentum, where the optimizer has one."), Field(ge=0, le=1)] = 0.9
    layer_decay: Annotated[
        float | None,
        Option("Factor on the learning rate for each layer further from the head, such as 0.75."),
        Field(gt=0),
    ] = None
    sched: Annotated[str, Option("Learning rate over time, by timm's name: cosine, step, poly, constant ...")] = (
        "cosine"
    )
    warmup_epochs: Annotated[
        float | None,
        Option("Epochs in which the learning rate rises; a twentieth of them by default."),
        Field(ge=0),
    ] = None
    warmup_lr: Annotated[float, Option("Learning rate that the rise starts from."), Field(ge=0)] = 1e-6
    min_lr: Annotated[float, Option("Learning rate that a cosine ends at."), Field(ge=0)] = 0.0
    clip_grad: Annotated[float, Option("The most that gradients may be; 0 lets them be."), Field(ge=0)] = 1.0
    clip_mode: Annotated[Literal["norm", "value", "agc"], Option("How they are kept so.")] = "norm"
    grad_accum_steps: Annotated[
        int,
        Option("Run the batch of a step in so many parts, one after another, for less memory."),
        Field(ge=1),
    ] = 1


@dataclass(frozen=True, config=CHECKED)
class Mixing:
    """Images mixed with one another, and labels softened (timm's `Mixup`); neither by default."""

    PANEL: ClassVar = PANEL

    smoothing: Annotated[float, Option("Label smoothing."), Field(ge=0, le=1)] = 0.0
    mixup: Annotated[float, Option("Mixup alpha; 0 is off."), Field(ge=0)] = 0.0
    cutmix: Annotated[float, Option("CutMix alpha; 0 is off."), Field(ge=0)] = 0.0
    mixup_prob: Annotated[float, Option("How often batches are mixed."), Field(ge=0, le=1)] = 1.0
    mixup_switch_prob: Annotated[float, Option("How often by CutMix, where both are on."), Field(ge=0, le=1)] = 0.5
    mixup_mode: Annotated[Literal["batch", "pair", "elem"], Option("What is mixed alike.")] = "batch"

    @property
    def is_on(self) -> bool:
        """Whether images are mixed at all."""
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True, config=CHECKED)
class Processes:
    """What becomes of BatchNorms where several processes train together.

    Attributes:
        sync_bn: Whether BatchNorms normalise by the images of all processes.
        dist_bn: What becomes of their running statistics after an epoch where `sync_bn` is off: "reduce" averages them,
            "broadcast" takes those of the first process, "none" leaves them as they are.
    """

    PANEL: ClassVar = PANEL

    sync_bn: Annotated[bool, Option("Normalise by the images of all processes.")] = False
    dist_bn: Annotated[
        Literal["reduce", "broadcast", "none"],
        Option("What becomes of BatchNorm statistics of several processes after an epoch."),
    ] = "reduce"


@dataclasses.dataclass(frozen=True)
class Precision:
    """The numbers and the layout that a training computes in.

    Attributes:
        amp: The dtype of autocast; None for no autocast.
        channels_last: Whether images and weights lie in memory with the channels last.
        compiled: Whether torch.compile compiles what no gate is part of.
    """

    amp: AmpDtype | None = None
    channels_last: bool = False
    compiled: bool = False


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """The settings of one training.

    Attributes:
        epochs: How many epochs it has.
        batch_size: Images in a step, over all processes.
        seed: The seed of all that is drawn at random.
        optimizing: The optimizer and the learning rate.
        mixing: How images are mixed and labels softened.
        precision: The numbers and the layout that it computes in.
        ema_decay: The decay of a moving average of the weights, which the training ends with; None for no average.
        processes: What becomes of BatchNorms where several processes train together.

    Example:
        >>> from pruner.training.settings import Optimizing, TrainSettings
        >>> settings = TrainSettings(epochs=8, optimizing=Optimizing(lr=1e-3))
        >>> settings.batch_size, settings.optimizing.opt, settings.mixing.is_on
        (64, 'adamw', False)
    """

    epochs: int
    batch_size: int = 64
    seed: int = 0
    optimizing: Optimizing = field(default_factory=Optimizing)
    mixing: Mixing = field(default_factory=Mixing)
    precision: Precision = field(default_factory=Precision)
    ema_decay: float | None = None
    processes: Processes = field(default_factory=Processes)
