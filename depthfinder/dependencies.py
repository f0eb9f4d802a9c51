"""What each stage of a run depends on: the arguments, by their names.

Every field of the arguments belongs to a group here. What a stage depends on are its own groups and those of the stages
that it builds upon. From this follow what makes a stage be done again (`depthfinder/claiming.py`), which training a
checkpoint is of, and what a study's scores depend on.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final

from depthfinder.arguments import RunArguments

_NETWORK: Final = ("model", "pretrained", "checkpoint", "checkpoint_img_size", "model_kwargs", "seed")
_DATA: Final = (
    *("dataset", "data_dir", "train_split", "val_split", "class_map", "skip_bad_images", "no_aug", "scale", "ratio"),
    *("hflip", "vflip", "color_jitter", "aa", "reprob", "remode", "recount", "train_interpolation", "interpolation"),
    *("crop_pct", "mean", "std"),
)
_TRAINING: Final = (
    *("train_batch_size", "lr", "opt", "weight_decay", "momentum", "layer_decay", "sched", "warmup_epochs"),
    *("warmup_lr", "min_lr", "clip_grad", "clip_mode", "grad_accum_steps", "smoothing", "mixup", "cutmix"),
    *("mixup_prob", "mixup_switch_prob", "mixup_mode", "model_ema", "model_ema_decay", "amp", "amp_dtype"),
    *("train_channels_last", "train_torchcompile", "sync_bn", "dist_bn"),
)
_TEACHING: Final = ("kd_temperature", "distill_loss_weight")
_SETTING: Final = ("device", "threads", "batch_size", "dtype", "channels_last", "compiled")
_TABLE: Final = (*_SETTING, "max_seconds", "profile", "choices", "widths")
_SUPERNET: Final = (
    *("supernet_epochs", "supernet_sampling", "supernet_plans", "freeze_backbone", "strategy", "gate_form"),
    *("choices", "widths", "fit_images"),
)
_LIMITS: Final = (
    *("budget_ms", "budget_ratio", "keep", "choices", "widths", "max_pruned", "keep_one_per_stage", "max_parameters"),
    "max_memory_mb",
)
_FITS: Final = ("fit_images", "choices", "widths", "train_batch_size")
_SCORING: Final = ("bn_estimation", "scored_by")
_SEARCHING: Final = ("sampler", "n_trials", "gap", "storage", "study_name")
_PROGRESSIVE: Final = (
    *("progressive_epochs", "merge_init", "lambda_schedule", "closing_share", "kd_model_name", "kd_checkpoint"),
    *("block_loss_weight", "least_lr_share"),
)
_MASKS: Final = ("method", "granularity", "sparsity", "epochs", "search_share")

# What decides how fast a run goes, when its search is cut off and how much is told of it, but not what it finds.
MAY_CHANGE: Final = (
    *("workers", "timeout", "data_workers", "dataset_download", "checkpoint_minutes", "log_tensorboard"),
    "train_device",
)

_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "baseline": (*_NETWORK, *_DATA),
    "profile": (*_NETWORK, *_DATA, *_TABLE),
    "finetune": (*_NETWORK, *_DATA, *_TRAINING, "finetune_epochs"),
    "finetuned": (),
    "supernet": (*_TRAINING, *_TEACHING, *_SUPERNET),
    "fits": _FITS,
    "search": (*_LIMITS, *_SCORING, *_SEARCHING),
    "front": (*_LIMITS, *_SCORING, *_SEARCHING),
    "train": (*_TEACHING, *_PROGRESSIVE),
    "merge": (),
    "measure": (),
    "report": (),
    "masks": (*_TEACHING, *_MASKS),
    "hand over": (),
    "judge": _TABLE,
    "mask report": (),
}
# Stands for the stage that made what plans are scored by.
_SCORED: Final = "scored by"
_BUILDS_UPON: Final[Mapping[str, tuple[str, ...]]] = {
    "baseline": (),
    "profile": (),
    "finetune": (),
    "finetuned": ("finetune",),
    "supernet": ("finetune",),
    "fits": ("profile", "finetune"),
    "search": ("profile", _SCORED),
    "front": ("profile", _SCORED),
    "train": ("search",),
    "merge": ("train",),
    "measure": ("merge",),
    "report": ("measure",),
    "masks": ("finetune",),
    "hand over": ("masks",),
    "judge": ("masks",),
    "mask report": ("judge",),
}
# Whose contents are compared in their place: other machines call them by other paths.
_PATHS: Final = ("checkpoint", "data_dir", "class_map", "profile", "kd_checkpoint")
_DEVICES: Final = "devices with a budget"


def depends(stage: str, asked: RunArguments) -> dict[str, Any]:
    """Argument -> its value, for all that a stage's result depends on."""
    there = dataclasses.asdict(asked) | {_DEVICES: sorted(asked.budgets_ms)}
    found = {name: there[name] for name in _own(stage, asked)}
    for other in _BUILDS_UPON[stage]:
        found |= depends(asked.scored_by if other == _SCORED else other, asked)
    return found


def scores_depend_on(asked: RunArguments) -> dict[str, Any]:
    """Argument -> its value, for all that the scores of plans depend on; but for paths, whose contents count."""
    there = dataclasses.asdict(asked)
    return trainings_depend_on(asked.scored_by, asked) | {name: there[name] for name in _SCORING}


def as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Argument -> its value in words, the same whether it was typed or read from a file."""
    return {name: json.dumps(value, sort_keys=True) for name, value in values.items()}


def trainings_depend_on(stage: str, asked: RunArguments) -> dict[str, Any]:
    """The same for what a training of a stage comes to, given the weights, the images and the plan that it begins
    with."""
    return {name: value for name, value in depends(stage, asked).items() if name not in _PATHS}


def limits_depend_on(asked: RunArguments) -> dict[str, Any]:
    """Argument -> its value, for what is searched for by those scores: the budget and the other limits, and where."""
    there = dataclasses.asdict(asked)
    return {name: there[name] for name in (*_SETTING, *_LIMITS)}


def known_fields() -> set[str]:
    """Every argument that some stage depends on."""
    return set().union(*_OWN.values())


def _own(stage: str, asked: RunArguments) -> tuple[str, ...]:
    own = _OWN[stage]
    if stage == "profile":
        return (*own, _DEVICES)
    # Gates are told what cuts save, and plans may be drawn around the budget.
    if stage == "supernet" and (asked.strategy == "gate" or asked.supernet_sampling == "latency"):
        return (*own, *_LIMITS, *_TABLE)
    return own
