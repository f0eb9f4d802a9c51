"""Which settings the result of each stage depends on.

These are the settings of the stage itself (`depthfinder/folder/stages.py`) and of the stages that it needs. They decide
when a stage is carried out again (`claiming.py`), which training a checkpoint belongs to, and which scores a study may
hold.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from depthfinder.config.declared import declared_in, flat
from depthfinder.config.run import RunConfig, SparsifyConfig
from depthfinder.folder.stages import LIMITS, SCORED, SCORING, SETTING, STAGES, TABLE

MAY_CHANGE: Final = tuple(one.name for one in declared_in(SparsifyConfig) if one.option.changes_nothing)
"""Settings that decide how fast a run goes, when its search ends and how much it reports, but not what it finds."""

# Their contents are compared elsewhere: other machines have the same files under other paths.
_PATHS: Final = ("checkpoint", "data_dir", "class_map", "profile", "kd_checkpoint")
_DEVICES: Final = "devices with a budget"


def depends(stage: str, asked: RunConfig) -> dict[str, Any]:
    """Returns setting -> value, for all settings that a stage's result depends on.

    Example:
        >>> from depthfinder.config.run import RunConfig
        >>> "budget_ms" in depends("search", RunConfig()), "budget_ms" in depends("finetune", RunConfig())
        (True, False)
    """
    there = flat(asked) | {_DEVICES: sorted(asked.measure.budgets_ms)}
    found = {name: there[name] for name in _own(stage, asked)}
    for other in STAGES[stage].needs:
        found |= depends(asked.search.scored_by if other == SCORED else other, asked)
    return found


def scores_depend_on(asked: RunConfig) -> dict[str, Any]:
    """Returns setting -> value, for all settings but paths that the scores of plans depend on."""
    there = flat(asked)
    return trainings_depend_on(asked.search.scored_by, asked) | {name: there[name] for name in SCORING}


def as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Returns setting -> value as text, the same whether the value was typed or read from a file."""
    return {name: json.dumps(value, sort_keys=True) for name, value in values.items()}


def trainings_depend_on(stage: str, asked: RunConfig) -> dict[str, Any]:
    """Returns setting -> value, for all settings but paths that the training of a stage depends on.

    The weights, the images and the plan that it begins with are compared by their contents.
    """
    return {name: value for name, value in depends(stage, asked).items() if name not in _PATHS}


def limits_depend_on(asked: RunConfig) -> dict[str, Any]:
    """Returns setting -> value, for the device, the budget and the other limits of a search."""
    there = flat(asked)
    return {name: there[name] for name in (*SETTING, *LIMITS)}


def known_fields() -> set[str]:
    """Returns every setting that some stage depends on."""
    return set().union(*(stage.settings for stage in STAGES.values()))


def _own(stage: str, asked: RunConfig) -> tuple[str, ...]:
    own = STAGES[stage].settings
    if stage == "profile":
        return (*own, _DEVICES)
    # Gates are told what cuts save, and plans may be drawn around the budget.
    if stage == "supernet" and (asked.search.strategy == "gate" or asked.train.supernet_sampling == "latency"):
        return (*own, *LIMITS, *TABLE)
    return own
