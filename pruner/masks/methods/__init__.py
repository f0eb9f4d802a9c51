"""The methods that find masks, one to a file, and their registry."""

from profiles.registry import load_members
from pruner.errors import UnknownMethodError
from pruner.masks.methods.acdc import Acdc
from pruner.masks.methods.awg import Awg
from pruner.masks.methods.magnitude import Magnitude
from pruner.masks.methods.method import METHODS, Method, known_method, method
from pruner.masks.methods.pas import Pas
from pruner.masks.methods.pdp import Pdp
from pruner.masks.methods.smart import Smart

__all__ = [
    "METHODS",
    "Acdc",
    "Awg",
    "Magnitude",
    "Method",
    "Pas",
    "Pdp",
    "Smart",
    "UnknownMethodError",
    "known_method",
    "method",
]

load_members(__name__, __path__)
