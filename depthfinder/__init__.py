"""Depthfinder finds how deep a vision network needs to be on your own hardware.

The public door: every name of the API is here, and is imported from where it lives when it is first used, so that the
command line answers at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

from depthfinder.own_packages import take_own_packages

if TYPE_CHECKING:
    from depthfinder.api import export, load_merged, measure, profile, run, search
    from depthfinder.folder.result import RunResult
    from depthfinder.without_training import Fitted
    from profiles.measurement import Measurement
    from profiles.profile import Profile
    from profiles.store import load_profile
    from pruner.choices.chain import Block, Chain
    from pruner.choices.plan import Plan
    from pruner.models.load import load_model
    from pruner.network.surgery import apply, describe, merge, supernet
    from search.candidate import Candidate, SearchResult

__version__ = "0.1.0"

take_own_packages()

from depthfinder import errors  # noqa: E402 - imports the other packages, which have to be our own

_HOMES = {
    "Block": "pruner.choices.chain",
    "Candidate": "search.candidate",
    "Chain": "pruner.choices.chain",
    "Fitted": "depthfinder.without_training",
    "Measurement": "profiles.measurement",
    "Plan": "pruner.choices.plan",
    "Profile": "profiles.profile",
    "RunResult": "depthfinder.folder.result",
    "SearchResult": "search.candidate",
    "apply": "pruner.network.surgery",
    "describe": "pruner.network.surgery",
    "export": "depthfinder.api",
    "load_merged": "depthfinder.api",
    "load_model": "pruner.models.load",
    "load_profile": "profiles.store",
    "measure": "depthfinder.api",
    "merge": "pruner.network.surgery",
    "profile": "depthfinder.api",
    "run": "depthfinder.api",
    "search": "depthfinder.api",
    "supernet": "pruner.network.surgery",
}

__all__ = [
    "Block",
    "Candidate",
    "Chain",
    "Fitted",
    "Measurement",
    "Plan",
    "Profile",
    "RunResult",
    "SearchResult",
    "apply",
    "describe",
    "errors",
    "export",
    "load_merged",
    "load_model",
    "load_profile",
    "measure",
    "merge",
    "profile",
    "run",
    "search",
    "supernet",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
