"""Depthfinder finds how deep a vision network needs to be on your own hardware.

This is the public API: every name is here, and its module is imported when the name is first used, so that the command
line answers at once.

Example:
    >>> import depthfinder as df
    >>> model = df.load_model("deit_digits", pretrained=True)
    >>> chain = df.describe(model)
    >>> len(chain.blocks), chain.blocks[1].choices
    (24, ('keep', 'merge', 'drop'))
"""

import importlib
from typing import TYPE_CHECKING, Any

from depthfinder.own_packages import take_own_packages

if TYPE_CHECKING:
    from depthfinder.api import export, load_merged, measure, profile, run
    from depthfinder.folder.result import RunResult
    from depthfinder.searching import search
    from depthfinder.with_training import finetune, images, train_supernet
    from depthfinder.without_training import Fitted
    from profiles.measurement import Measurement
    from profiles.profile import Profile
    from profiles.store import load_profile
    from pruner.anatomy.registered import register
    from pruner.choices.chain import Block, Chain
    from pruner.choices.plan import Plan
    from pruner.data.images import ImageData
    from pruner.models.load import load_model
    from pruner.network.surgery import Cut, Supernet, apply, describe, merge, supernet
    from pruner.scoring.evaluator import Evaluator
    from pruner.scoring.score import Score
    from search.candidate import Candidate, SearchResult
    from search.verification.budget import Budget

__version__ = "0.1.0"

take_own_packages()

from depthfinder import errors  # noqa: E402 - imports the other packages, which have to be our own

_HOMES = {
    "Block": "pruner.choices.chain",
    "Budget": "search.verification.budget",
    "Candidate": "search.candidate",
    "Chain": "pruner.choices.chain",
    "Cut": "pruner.network.surgery",
    "Evaluator": "pruner.scoring.evaluator",
    "Fitted": "depthfinder.without_training",
    "ImageData": "pruner.data.images",
    "Measurement": "profiles.measurement",
    "Plan": "pruner.choices.plan",
    "Profile": "profiles.profile",
    "RunResult": "depthfinder.folder.result",
    "Score": "pruner.scoring.score",
    "SearchResult": "search.candidate",
    "Supernet": "pruner.network.surgery",
    "apply": "pruner.network.surgery",
    "describe": "pruner.network.surgery",
    "export": "depthfinder.api",
    "finetune": "depthfinder.with_training",
    "images": "depthfinder.with_training",
    "load_merged": "depthfinder.api",
    "load_model": "pruner.models.load",
    "load_profile": "profiles.store",
    "measure": "depthfinder.api",
    "merge": "pruner.network.surgery",
    "profile": "depthfinder.api",
    "register": "pruner.anatomy.registered",
    "run": "depthfinder.api",
    "search": "depthfinder.searching",
    "supernet": "pruner.network.surgery",
    "train_supernet": "depthfinder.with_training",
}

__all__ = [
    "Block",
    "Budget",
    "Candidate",
    "Chain",
    "Cut",
    "Evaluator",
    "Fitted",
    "ImageData",
    "Measurement",
    "Plan",
    "Profile",
    "RunResult",
    "Score",
    "SearchResult",
    "Supernet",
    "apply",
    "describe",
    "errors",
    "export",
    "finetune",
    "images",
    "load_merged",
    "load_model",
    "load_profile",
    "measure",
    "merge",
    "profile",
    "register",
    "run",
    "search",
    "supernet",
    "train_supernet",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
