"""How a network is trained, as plain data, in timm's terms where timm has one."""

from dataclasses import dataclass, field
from typing import Final, Literal

AmpDtype = Literal["float16", "bfloat16"]
LEAST_LR_SHARE: Final = 0.2
"""The share of the learning rate at which a network learns that loses nothing before any training (`pace.py`)."""


@dataclass(frozen=True)
class Optimizing:
    """The optimizer and the learning rate over time, by timm's names (`timm.optim`, `timm.scheduler`).

    `warmup_epochs` None is a twentieth of the training. `layer_decay` multiplies the learning rate once for every layer
    between a weight and the head. A `clip_grad` of 0 lets gradients be. `grad_accum_steps` is how many parts a step's
    batch is run in, one after another.
    """

    opt: str = "adamw"
    lr: float = 5e-4
    weight_decay: float = 0.03
    momentum: float = 0.9
    layer_decay: float | None = None
    sched: str = "cosine"
    warmup_epochs: float | None = None
    warmup_lr: float = 1e-6
    min_lr: float = 0.0
    clip_grad: float = 1.0
    clip_mode: Literal["norm", "value", "agc"] = "norm"
    grad_accum_steps: int = 1


@dataclass(frozen=True)
class Mixing:
    """Images mixed with one another, and labels softened (timm's `Mixup`); nothing of it by default."""

    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_prob: float = 1.0
    mixup_switch_prob: float = 0.5
    mixup_mode: Literal["batch", "pair", "elem"] = "batch"
    smoothing: float = 0.0

    @property
    def is_on(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True)
class Precision:
    """What steps are computed in: `amp` is the dtype of autocast, None for none. `compiled` runs what no gate reaches
    through torch.compile."""

    amp: AmpDtype | None = None
    channels_last: bool = False
    compiled: bool = False


@dataclass(frozen=True)
class TrainSettings:
    """One training. `batch_size` is that of a whole step, over all processes.

    `ema_decay` keeps a moving average of the weights, which is what the training ends with; `sync_bn` normalises by the
    images of all processes, else their running statistics are averaged after every epoch (`dist_bn`).
    """

    epochs: int
    batch_size: int = 64
    seed: int = 0
    optimizing: Optimizing = field(default_factory=Optimizing)
    mixing: Mixing = field(default_factory=Mixing)
    precision: Precision = field(default_factory=Precision)
    ema_decay: float | None = None
    sync_bn: bool = False
    dist_bn: Literal["reduce", "broadcast", "none"] = "reduce"
