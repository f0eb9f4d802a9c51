"""The part of a run's arguments that says how networks are trained, and the settings it comes to."""

from dataclasses import dataclass
from typing import Final, Literal

from pruner.plan import MergeInit
from pruner.training.settings import LEAST_LR_SHARE, AmpDtype, Mixing, Optimizing, Precision, TrainSettings

LAMBDA_SCHEDULES: Final = ("linear", "cosine", "blocks", "score", "decay")
STRATEGIES: Final = ("optuna", "gate", "scores", "dimap")
GATE_FORM_NAMES: Final = ("knapsack", "shift")
SCORED_BY: Final = ("supernet", "fits")
SUPERNET_SAMPLINGS: Final = ("random", "sandwich", "latency")


@dataclass(frozen=True, kw_only=True)
class TrainingArguments:
    """timm's names where timm has one."""

    finetune_epochs: int = 0
    supernet_epochs: int = 2
    progressive_epochs: int = 8
    train_batch_size: int = 64
    lr: float = 5e-4
    opt: str = "adamw"
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
    smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_prob: float = 1.0
    mixup_switch_prob: float = 0.5
    mixup_mode: Literal["batch", "pair", "elem"] = "batch"
    model_ema: bool = False
    model_ema_decay: float = 0.9998
    amp: bool = False
    amp_dtype: AmpDtype = "float16"
    train_channels_last: bool = False
    train_torchcompile: bool = False
    train_device: str | None = None
    sync_bn: bool = False
    dist_bn: Literal["reduce", "broadcast", "none"] = "reduce"
    merge_init: MergeInit = "auto"
    lambda_schedule: str = "linear"
    closing_share: float = 0.3
    kd_model_name: str | None = None
    kd_checkpoint: str | None = None
    kd_temperature: float = 2.0
    distill_loss_weight: float = 1.0
    block_loss_weight: float = 0.0
    least_lr_share: float = LEAST_LR_SHARE
    supernet_sampling: str = "random"
    supernet_plans: int = 1
    freeze_backbone: bool = False
    checkpoint_minutes: float = 1.0
    log_tensorboard: bool = False

    def train_settings(self, epochs: int, seed: int) -> TrainSettings:
        """What a training of so many epochs goes by."""
        return TrainSettings(
            epochs=epochs,
            batch_size=self.train_batch_size,
            seed=seed,
            optimizing=Optimizing(
                opt=self.opt,
                lr=self.lr,
                weight_decay=self.weight_decay,
                momentum=self.momentum,
                layer_decay=self.layer_decay,
                sched=self.sched,
                warmup_epochs=self.warmup_epochs,
                warmup_lr=self.warmup_lr,
                min_lr=self.min_lr,
                clip_grad=self.clip_grad,
                clip_mode=self.clip_mode,
                grad_accum_steps=self.grad_accum_steps,
            ),
            mixing=Mixing(
                mixup=self.mixup,
                cutmix=self.cutmix,
                mixup_prob=self.mixup_prob,
                mixup_switch_prob=self.mixup_switch_prob,
                mixup_mode=self.mixup_mode,
                smoothing=self.smoothing,
            ),
            precision=Precision(
                amp=self.amp_dtype if self.amp else None,
                channels_last=self.train_channels_last,
                compiled=self.train_torchcompile,
            ),
            ema_decay=self.model_ema_decay if self.model_ema else None,
            sync_bn=self.sync_bn,
            dist_bn=self.dist_bn,
        )
