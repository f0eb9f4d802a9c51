"""The families of networks that can be cut, one file each, recognised by the structure of a network, not its name."""

from profiles.registry import load_members
from pruner.families.convnext import ConvNeXts
from pruner.families.family import FAMILIES, Family, family_of
from pruner.families.mobilenet import MobileNets
from pruner.families.resnet import ResNets
from pruner.families.vit import VisionTransformers

__all__ = [
    "FAMILIES",
    "ConvNeXts",
    "Family",
    "MobileNets",
    "ResNets",
    "VisionTransformers",
    "family_of",
]

load_members(__name__, __path__)
