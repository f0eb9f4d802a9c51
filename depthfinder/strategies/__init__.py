"""The strategies that there are, one to a file: to import this registers them. Nothing here loads torch."""

import importlib
import pkgutil

from depthfinder.strategies.strategy import STRATEGIES, Ground, Strategy, known_strategy, strategy

__all__ = ["STRATEGIES", "Ground", "Strategy", "known_strategy", "strategy"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
