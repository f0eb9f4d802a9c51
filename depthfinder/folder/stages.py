"""The stages of a run, each a value: what it needs, the settings that it uses, its files, and its function.

A new stage is an entry here and a function. A stage names groups of settings, as their records declare them, so a new
setting belongs to all stages that use its record. Nothing heavy is imported here: a stage names the module of its
function, which is loaded when the stage is carried out.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from depthfinder.config.data import DataConfig
from depthfinder.config.declared import own_names
from depthfinder.config.masks import MaskConfig
from depthfinder.config.measure import DeviceConfig, TableConfig
from depthfinder.config.model import ArchitectureConfig, ModelConfig
from depthfinder.config.run import Seeded
from depthfinder.config.search import FitConfig, LimitConfig, OfferConfig, ScoringConfig, SearchConfig, StrategyConfig
from depthfinder.config.train import LearningConfig, SupernetConfig, TeachingConfig, TrainConfig

NETWORK: Final = (*own_names(ArchitectureConfig), *own_names(ModelConfig), *own_names(Seeded))
DATA: Final = own_names(DataConfig)
_FINETUNING: Final = ("finetune_epochs",)
TRAINING: Final = tuple(name for name in own_names(LearningConfig) if name not in _FINETUNING)
TEACHING: Final = own_names(TeachingConfig)
SETTING: Final = own_names(DeviceConfig)
_OFFERED: Final = (*own_names(OfferConfig), "choices")
TABLE: Final = (*SETTING, *own_names(TableConfig), "profile", *_OFFERED)
SUPERNET: Final = (*own_names(SupernetConfig), *own_names(StrategyConfig), *_OFFERED, *own_names(FitConfig))
LIMITS: Final = ("budget_ms", "budget_ratio", *own_names(OfferConfig), *own_names(LimitConfig))
FITS: Final = (*own_names(FitConfig), *_OFFERED, "train_batch_size")
SCORING: Final = own_names(ScoringConfig)
SEARCHING: Final = own_names(SearchConfig)
PROGRESSIVE: Final = own_names(TrainConfig)
MASKS: Final = own_names(MaskConfig)

SCORED: Final = "scored by"
"""Stands among the needs of a stage for the stage that makes what scores plans: `supernet` or `fits`."""


@dataclass(frozen=True)
class Stage:
    """One step of a run, from its settings and what stages before it left to what it leaves itself.

    Attributes:
        name: The name of the stage, in the log too.
        does: `module:function` that carries it out, given the run.
        checks: `module:function` that raises before any work what will not be possible; None where the check of another
            stage is enough.
        needs: The stages whose results it builds upon.
        settings: The settings that its own result depends on, beside those of the stages that it needs.
        leaves: Patterns of the files that it leaves, without the study, which a later search continues.
        checkpoint: The name of its weights below `checkpoints/`, if it leaves any.
        is_costly: Whether other stages build on its long training, so that it is never repeated unasked.
        is_shared: Whether all processes of a run carry it out together; the first process alone carries out the others.
        goes_on: Whether it goes on from what it left when it is carried out again.
    """

    name: str
    does: str
    checks: str | None = None
    needs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    checkpoint: str | None = None
    is_costly: bool = False
    is_shared: bool = False
    goes_on: bool = False


def loaded(place: str) -> Callable[[Any], None]:
    """Imports the function that `module:function` names."""
    module, _, name = place.partition(":")
    function: Callable[[Any], None] = getattr(importlib.import_module(module), name)
    return function


_PIPELINE: Final = "depthfinder.pipeline"
_ALL: Final = (
    Stage(
        "baseline",
        f"{_PIPELINE}.baseline:baseline_stage",
        settings=(*NETWORK, *DATA),
        leaves=("baseline.json",),
    ),
    Stage(
        "profile",
        f"{_PIPELINE}.profile:profile_stage",
        checks=f"{_PIPELINE}.checks:check_devices_and_inputs",
        settings=(*NETWORK, *DATA, *TABLE),
        leaves=("profile.json", "profile.csv", "profile-*.json", "profile-*.csv"),
    ),
    Stage(
        "finetune",
        f"{_PIPELINE}.training:finetune_stage",
        checks=f"{_PIPELINE}.training:check_training",
        settings=(*NETWORK, *DATA, *TRAINING, *_FINETUNING),
        checkpoint="finetune",
        is_costly=True,
        is_shared=True,
    ),
    Stage(
        "finetuned",
        f"{_PIPELINE}.baseline:finetuned_stage",
        needs=("finetune",),
        leaves=("finetuned.json",),
    ),
    Stage(
        "supernet",
        f"{_PIPELINE}.training:supernet_stage",
        checks=f"{_PIPELINE}.training:check_training",
        needs=("finetune",),
        settings=(*TRAINING, *TEACHING, *SUPERNET),
        checkpoint="supernet",
        is_costly=True,
        is_shared=True,
    ),
    Stage(
        "fits",
        f"{_PIPELINE}.fits:fit_stage",
        needs=("profile", "finetune"),
        settings=FITS,
        leaves=("checkpoints/fits.safetensors*",),
        checkpoint="fits",
    ),
    Stage(
        "search",
        f"{_PIPELINE}.search:search_stage",
        checks=f"{_PIPELINE}.search:check_search",
        needs=("profile", SCORED),
        settings=(*LIMITS, *SCORING, *SEARCHING),
        leaves=("search.json", "plan.json"),
        goes_on=True,
    ),
    Stage(
        "front",
        f"{_PIPELINE}.front:front_stage",
        checks=f"{_PIPELINE}.search:check_search",
        needs=("profile", SCORED),
        settings=(*LIMITS, *SCORING, *SEARCHING),
        leaves=("front.json", "front.svg"),
        goes_on=True,
    ),
    Stage(
        "train",
        f"{_PIPELINE}.training:train_stage",
        checks=f"{_PIPELINE}.training:check_training",
        needs=("search",),
        settings=(*TEACHING, *PROGRESSIVE),
        leaves=("untrained.json", "progressive.csv", "tensorboard/progressive", "checkpoints/progressive.safetensors*"),
        checkpoint="progressive",
        is_shared=True,
    ),
    Stage("merge", f"{_PIPELINE}.merge:merge_stage", needs=("train",), leaves=("merged.*", "parity.json")),
    Stage("measure", f"{_PIPELINE}.measure:measure_stage", needs=("merge",), leaves=("result.json",)),
    Stage("report", f"{_PIPELINE}.merge:report_stage", needs=("measure",), leaves=("report.html",)),
    Stage(
        "masks",
        f"{_PIPELINE}.masks:mask_stage",
        checks=f"{_PIPELINE}.masks:check_masks",
        needs=("finetune",),
        settings=(*TEACHING, *MASKS),
        checkpoint="masks",
        is_costly=True,
        is_shared=True,
    ),
    Stage(
        "hand over",
        f"{_PIPELINE}.masks:hand_over_stage",
        needs=("masks",),
        leaves=("masked.safetensors", "masks.safetensors", "pruned.*"),
    ),
    Stage("judge", f"{_PIPELINE}.masks:judge_stage", needs=("masks",), settings=TABLE, leaves=("result.json",)),
    Stage("mask report", f"{_PIPELINE}.merge:report_stage", needs=("judge",), leaves=("report.html",)),
)
STAGES: Final[Mapping[str, Stage]] = {stage.name: stage for stage in _ALL}

_FINETUNE_STAGES: Final = ("finetune", "finetuned")
SEARCH_STAGES: Final = ("baseline", "profile", *_FINETUNE_STAGES, "supernet", "fits", "search")
FRONT_STAGES: Final = ("baseline", "profile", *_FINETUNE_STAGES, "supernet", "fits", "front")
MASK_STAGES: Final = ("baseline", *_FINETUNE_STAGES, "masks", "hand over", "judge", "mask report")
ALL_STAGES: Final = (*SEARCH_STAGES, "train", "merge", "measure", "report")


def stages_of(names: tuple[str, ...], *, finetunes: bool, scored_by: str = "supernet") -> tuple[str, ...]:
    """Returns those of the stages that a run has.

    Args:
        names: The stages of its command.
        finetunes: Whether the uncut network is trained first.
        scored_by: What scores plans: `supernet` or `fits`.

    Example:
        >>> stages_of(SEARCH_STAGES, finetunes=False, scored_by="fits")
        ('baseline', 'profile', 'fits', 'search')
    """
    left_out = {"supernet", "fits"} - {scored_by} | (set() if finetunes else set(_FINETUNE_STAGES))
    return tuple(name for name in names if name not in left_out)
