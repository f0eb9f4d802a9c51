"""What a search starts from, made once in a process: the chain of a network and its table of exact figures, by name."""

from functools import cache

from latency.devices.null import Null
from latency.profiler import profile
from networks import made
from profiles.profile import Profile
from pruner.chain import Chain
from pruner.surgery import describe


@cache
def chain_and_table(name: str) -> tuple[Chain, Profile]:
    """Of `made(name, 0)`, on the device of exact arithmetic."""
    network = made(name, 0)
    return describe(network), profile(network, Null(), max_seconds=0.1)
