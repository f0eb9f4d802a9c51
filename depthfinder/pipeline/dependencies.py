"""What each stage of a run depends on: the settings, by their names.

What a stage depends on are the settings of its own (`depthfinder/folder/stages.py`) and of the stages that it needs.
From this follow what makes a stage be done again (`claiming.py`), which training a checkpoint is of, and what a study's
scores depend on.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from depthfinder.config.declared import declared_in, flat
from depthfinder.config.run import RunConfig, SparsifyConfig
from depthfinder.folder.stages import LIMITS, SCORED, SCORING, SETTING, STAGES, TABLE

MAY_CHANGE: Final = tuple(one.name for one in declared_in(SparsifyConfig) if one.option.changes_nothing)
"""What decides how fast a run goes, when its search is cut off and how much is told of it, but not what it finds."""

# Whose contents are compared in their place: other machines call them by other paths.
_PATHS: Final = ("checkpoint", "data_dir", "class_map", "profile", "kd_checkpoint")
_DEVICES: Final = "devices with a budget"


def depends(stage: str, asked: RunConfig) -> dict[str, Any]:
    """Setting -> its value, for all that a stage's result depends on."""
    there = flat(asked) | {_DEVICES: sorted(asked.measure.budgets_ms)}
    found = {name: there[name] for name in _own(stage, asked)}
    for other in STAGES[stage].needs:
        found |= depends(asked.search.scored_by if other == SCORED else other, asked)
    return found


def scores_depend_on(asked: RunConfig) -> dict[str, Any]:
    """Setting -> its value, for all that the scores of plans depend on; but for paths, whose contents count."""
    there = flat(asked)
    return trainings_depend_on(asked.search.scored_by, asked) | {name: there[name] for name in SCORING}


def as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Setting -> its value in words, the same whether it was typed or read from a file."""
    return {name: json.dumps(value, sort_keys=True) for name, value in values.items()}


def trainings_depend_on(stage: str, asked: RunConfig) -> dict[str, Any]:
    """The same for what a training of a stage comes to, given the weights, the images and the plan that it begins
    with."""
    return {name: value for name, value in depends(stage, asked).items() if name not in _PATHS}


def limits_depend_on(asked: RunConfig) -> dict[str, Any]:
    """Setting -> its value, for what is searched for by those scores: the budget and the other limits, and where."""
    there = flat(asked)
    return {name: there[name] for name in (*SETTING, *LIMITS)}


def known_fields() -> set[str]:
    """Every setting that some stage depends on."""
    return set().union(*(stage.settings for stage in STAGES.values()))


def _own(stage: str, asked: RunConfig) -> tuple[str, ...]:
    own = STAGES[stage].settings
    if stage == "profile":
        return (*own, _DEVICES)
    # Gates are told what cuts save, and plans may be drawn around the budget.
    if stage == "supernet" and (asked.search.strategy == "gate" or asked.train.supernet_sampling == "latency"):
        return (*own, *LIMITS, *TABLE)
    return own
