"""The base class of strategies, which find the plan, and the registry of the known ones.

A strategy's name and what may score its plans are asked for before torch is loaded. The file of a strategy therefore
imports torch, and what loads it, inside functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from profiles.registry import Registry
from pruner.errors import SettingsError

if TYPE_CHECKING:
    from torch import nn

    from pruner.network.surgery import Supernet
    from pruner.training.objective import Objective
    from pruner.training.supernet import Draw
    from search.samplers.sampler import Sampler
    from search.space import Space


@dataclass(frozen=True)
class Ground:
    """What a strategy is given to work on.

    Attributes:
        model: The uncut network.
        extra_choices: The choices that are offered although they are on request.
        space: Returns the plans within the limits, by the latency tables.
        sampler: The name of the sampler that was asked for, where the strategy leaves that open.
        gate_form: The form of a gate, where there are gates: "knapsack" or "shift".
        learning: How the supernet learns: (temperature of the uncut network's answers, their weight beside the labels,
            label smoothing).
        lr: The peak learning rate of the supernet.
        steps: How many steps the supernet is trained for.
        load: Puts the trained weights into a network that `scoring_network` made.
    """

    model: nn.Module
    extra_choices: tuple[str, ...]
    space: Callable[[], Space]
    sampler: str
    gate_form: str
    learning: tuple[float, float, float]
    lr: float
    steps: int
    load: Callable[[nn.Module], None]


class Strategy(ABC):
    """Says what scores plans, how a supernet that scores them is trained, and what proposes them.

    Example:
        A strategy that asks Optuna's TPE for plans, whatever `--sampler` says:

        >>> class Tpe(Strategy):
        ...     name = "only-tpe"
        ...     def sampler(self, ground):
        ...         from search.samplers import known_sampler
        ...         return known_sampler("tpe")
        >>> Tpe().scored_by
        ('fits', 'supernet')
    """

    name: ClassVar[str]
    scored_by: ClassVar[tuple[str, ...]] = ("fits", "supernet")
    """What may score its plans; the first by default."""
    knows_new_weights: ClassVar[bool] = True
    """Whether it can judge cuts with weights of their own: fitted layers, and narrower blocks."""

    def scoring_network(self, ground: Ground) -> Supernet:
        """Returns the weight-sharing network that scores plans, with the weights of the uncut network."""
        from pruner.network.surgery import supernet

        return supernet(ground.model, ground.extra_choices)

    def objective(self, ground: Ground, network: Supernet, draw: Draw) -> Objective:
        """Returns the objective that the supernet is trained for.

        Args:
            ground: What the strategy is given.
            network: The network that `scoring_network` made.
            draw: Draws the plans of a step.
        """
        from pruner.training.supernet import SupernetObjective

        return SupernetObjective(network, draw, *ground.learning)

    @abstractmethod
    def sampler(self, ground: Ground) -> Sampler:
        """Returns what proposes plans. It is asked for when the supernet is trained or the layers are fitted."""


STRATEGIES: Final = Registry[Strategy]("strategy", SettingsError)


def strategy(cls: type[Strategy]) -> type[Strategy]:
    """Registers a strategy under its name, as a decorator. Raises `ValueError` when the name is taken."""
    STRATEGIES.add(cls.name, cls())
    return cls


def known_strategy(name: str) -> Strategy:
    """Returns the strategy of that name. Raises `SettingsError`, which lists the known ones, for any other.

    Example:
        >>> from depthfinder.strategies import known_strategy
        >>> known_strategy("gate").scored_by
        ('supernet',)
    """
    return STRATEGIES.known(name)
