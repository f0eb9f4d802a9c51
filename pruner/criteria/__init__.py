"""Criteria: the importance of blocks without training, one file for each criterion, which names its paper."""

from profiles.registry import load_members
from pruner.criteria.criterion import CRITERIA, Criterion, criterion, known_criterion

__all__ = ["CRITERIA", "Criterion", "criterion", "known_criterion"]

load_members(__name__, __path__)
