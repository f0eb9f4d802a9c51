"""The options that say how networks are trained, each with its help, in timm's spelling where timm has one."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from pruner.plan import MergeInit


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel="Training", **more)


def _positive(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value} is not a positive number")
    return value


def _share(value: float) -> float:
    if not 0 < value <= 1:
        raise typer.BadParameter(f"{value} is not a share in (0, 1]")
    return value


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """How a network is trained, whatever for."""

    finetune_epochs: Annotated[
        int, _option("Epochs in which the uncut network itself is trained first; none by default.", min=0)
    ] = 0
    train_batch_size: Annotated[int, _option("Images that a training step takes, over all processes.", min=2)] = 64
    lr: Annotated[float, _option("Peak learning rate.", callback=_positive)] = 5e-4
    opt: Annotated[str, _option("Optimizer, by timm's name: adamw, sgd, lamb, lion ...")] = "adamw"
    weight_decay: Annotated[float, _option("Weight decay of matrices; biases, norms and scales have none.", min=0)] = (
        0.03
    )
    momentum: Annotated[float, _option("Momentum, where the optimizer has one.", min=0, max=1)] = 0.9
    layer_decay: Annotated[
        float | None,
        _option("Factor on the learning rate for each layer further from the head, such as 0.75.", callback=_positive),
    ] = None
    sched: Annotated[str, _option("Learning rate over time, by timm's name: cosine, step, poly, constant ...")] = (
        "cosine"
    )
    warmup_epochs: Annotated[
        float | None, _option("Epochs in which the learning rate rises; a twentieth of them by default.", min=0)
    ] = None
    warmup_lr: Annotated[float, _option("Learning rate that the rise starts from.", min=0)] = 1e-6
    min_lr: Annotated[float, _option("Learning rate that a cosine ends at.", min=0)] = 0.0
    clip_grad: Annotated[float, _option("The most that gradients may be; 0 lets them be.", min=0)] = 1.0
    clip_mode: Annotated[Literal["norm", "value", "agc"], _option("How they are kept so.")] = "norm"
    grad_accum_steps: Annotated[
        int, _option("Run the batch of a step in so many parts, one after another, for less memory.", min=1)
    ] = 1
    smoothing: Annotated[float, _option("Label smoothing.", min=0, max=1)] = 0.0
    mixup: Annotated[float, _option("Mixup alpha; 0 is off.", min=0)] = 0.0
    cutmix: Annotated[float, _option("CutMix alpha; 0 is off.", min=0)] = 0.0
    mixup_prob: Annotated[float, _option("How often batches are mixed.", min=0, max=1)] = 1.0
    mixup_switch_prob: Annotated[float, _option("How often by CutMix, where both are on.", min=0, max=1)] = 0.5
    mixup_mode: Annotated[Literal["batch", "pair", "elem"], _option("What is mixed alike.")] = "batch"
    model_ema: Annotated[bool, _option("End with a moving average of the weights.", "--model-ema")] = False
    model_ema_decay: Annotated[float, _option("What the average keeps at each step.", min=0, max=1)] = 0.9998
    amp: Annotated[bool, _option("Compute in mixed precision.", "--amp")] = False
    amp_dtype: Annotated[Literal["float16", "bfloat16"], _option("The lower precision.")] = "float16"
    train_channels_last: Annotated[bool, _option("Lay images out as NHWC while training.", "--train-channels-last")] = (
        False
    )
    train_torchcompile: Annotated[
        bool, _option("Run what no gate reaches through torch.compile while training.", "--train-torchcompile")
    ] = False
    train_device: Annotated[
        str | None, _option("Where networks are trained: cpu, cuda, cuda:1; a GPU where there is one by default.")
    ] = None
    sync_bn: Annotated[bool, _option("Normalise by the images of all processes.", "--sync-bn")] = False
    dist_bn: Annotated[
        Literal["reduce", "broadcast", "none"],
        _option("What becomes of BatchNorm statistics of several processes after an epoch."),
    ] = "reduce"
    checkpoint_minutes: Annotated[float, _option("The most that a kill loses of a training.", callback=_positive)] = 1.0
    log_tensorboard: Annotated[
        bool, _option("Write curves for TensorBoard too, to RUN/tensorboard.", "--log-tensorboard")
    ] = False


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(LearningOptions):
    """How the networks of a search are trained."""

    supernet_epochs: Annotated[
        int | None,
        _option("Epochs of the weight-sharing network, 2 by default; who asks for them has it score the plans.", min=1),
    ] = None
    progressive_epochs: Annotated[
        int, _option("Epochs of the plan's network; 0 leaves it as it was cut, or fitted.", min=0)
    ] = 8
    merge_init: Annotated[
        MergeInit,
        _option(
            "What merged blocks start from: folded, their own weights as the gates close; fitted, a layer fitted to "
            "them; auto, fitted for images and folded for tokens."
        ),
    ] = "auto"
    lambda_schedule: Annotated[
        str,
        _option("How gates close: linear, cosine, blocks (from the end), score (least harm first) or decay (by norm)."),
    ] = "linear"
    closing_share: Annotated[
        float, _option("The share of the progressive epochs after which all gates are closed.", callback=_share)
    ] = 0.3
    kd_model_name: Annotated[
        str | None, _option("The network whose answers are learned; the uncut one by default.")
    ] = None
    kd_checkpoint: Annotated[str | None, _option("Its weights; those that timm publishes by default.")] = None
    kd_temperature: Annotated[float, _option("How much answers are softened.", callback=_positive)] = 2.0
    distill_loss_weight: Annotated[float, _option("Weight of those answers beside the labels; 0 is none.", min=0)] = 1.0
    block_loss_weight: Annotated[
        float,
        _option("Weight of what each layer in a block's place learns of that block's output; 0 is none.", min=0),
    ] = 0.0
    least_lr_share: Annotated[
        float,
        _option(
            "The share of --lr at which the plan's network learns if it loses nothing before any training; all of it "
            "from a point of accuracy on. 1 is all of it always.",
            callback=_share,
        ),
    ] = 0.2
    supernet_sampling: Annotated[
        str, _option("The plans a supernet step trains: random, sandwich, or latency (around the budget).")
    ] = "random"
    supernet_plans: Annotated[int, _option("How many of them, beside the uncut network.", min=1)] = 1
    freeze_backbone: Annotated[
        bool, _option("Train only new BatchNorms and biases of the supernet: a quick ranking.", "--freeze-backbone")
    ] = False
