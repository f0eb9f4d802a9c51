"""What can be said of a block's importance without training: one file per criterion, its paper named."""

from profiles.registry import load_members
from pruner.criteria.criterion import CRITERIA, Criterion, criterion, known_criterion

__all__ = ["CRITERIA", "Criterion", "criterion", "known_criterion"]

load_members(__name__, __path__)
