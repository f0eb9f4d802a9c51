"""All samplers; importing this package registers them by name."""

from profiles.registry import load_members
from search.samplers.by_gains import ByGains, BySingleScores
from search.samplers.by_optuna import Gp, Nsga2, Tpe
from search.samplers.by_order import Exhaustive, Random
from search.samplers.front import Front
from search.samplers.learned import Learned, Prefix
from search.samplers.sampler import known_sampler

__all__ = [
    "ByGains",
    "BySingleScores",
    "Exhaustive",
    "Front",
    "Gp",
    "Learned",
    "Nsga2",
    "Prefix",
    "Random",
    "Tpe",
    "known_sampler",
]

load_members(__name__, __path__)
