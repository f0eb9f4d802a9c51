"""The strategies, one to a file. Importing this package registers them. Nothing here loads torch."""

from depthfinder.strategies.strategy import STRATEGIES, Ground, Strategy, known_strategy, strategy
from profiles.registry import load_members

__all__ = ["STRATEGIES", "Ground", "Strategy", "known_strategy", "strategy"]

load_members(__name__, __path__)
