"""What a search starts from, made when it is first asked for: a network's chain, and its table of exact figures."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from torch import nn

from latency.devices.null import Null
from latency.profiler import profile
from networks import made
from profiles.profile import Profile
from pruner.choices.chain import Chain
from pruner.choices.plan import Plan
from pruner.network.sizes import parameters_by_choice
from pruner.network.surgery import describe, supernet


@dataclass(frozen=True)
class Start:
    """Of `made(name, 0)`, on the device of exact arithmetic."""

    name: str

    @cached_property
    def network(self) -> nn.Module:
        return made(self.name, 0)

    @cached_property
    def chain(self) -> Chain:
        return describe(self.network)

    @cached_property
    def table(self) -> Profile:
        return profile(self.network, Null(), max_seconds=0.1)

    @cached_property
    def uncut_ms(self) -> float:
        """What the network takes by its table with nothing cut."""
        return self.table.latency_ms(Plan(self.chain.model))

    @cached_property
    def sizes(self) -> dict[tuple[str, str], float]:
        """(block, choice) -> how many parameters are left of the block."""
        return parameters_by_choice(supernet(self.network))

    @cached_property
    def parameters(self) -> float:
        return float(sum(parameter.numel() for parameter in self.network.parameters()))


DEIT: Final = Start("deit")
DIGITS: Final = Start("digits")
