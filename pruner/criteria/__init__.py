"""What can be said of a block's importance without training: one file per criterion, its paper named."""

import importlib

from pruner.criteria.criterion import CRITERIA, Criterion, criterion, known_criterion
from pruner.criterion_names import CRITERION_NAMES

__all__ = ["CRITERIA", "Criterion", "criterion", "known_criterion"]

for _name in CRITERION_NAMES:
    importlib.import_module(f"{__name__}.{_name}")
