"""The families of networks that can be cut: one file each, found by a module's own structure, never by its name."""

from pruner.families.family import FAMILIES, Family, family_of
from pruner.families.vit import VisionTransformers

__all__ = ["FAMILIES", "Family", "VisionTransformers", "family_of"]
