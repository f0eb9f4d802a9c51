"""How the plan is found: the protocol of a strategy, and the registry of those that are known.

What a strategy is asked for before anything is loaded, its name and what it is scored by, must not load torch: its file
imports what does so where it is used.
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
    """What a strategy goes by.

    Attributes:
        model: the uncut network.
        also: the choices that are offered although they are on request.
        space: gives the plans within the limits, by the tables.
        sampler: the name of what proposes plans, where the strategy leaves that open.
        gate_form: the form of a gate, where there are gates.
        learning: how a weight-sharing network learns: (temperature of the uncut network's answers, their weight beside
            the labels, label smoothing).
        lr: its peak learning rate.
        steps: how many steps it is trained for.
        load: puts the weights into such a network that its training ended with.
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
    """Says what scores plans, how that learns, and what proposes them.

    Example:
        A strategy that asks Optuna's TPE for plans, whatever `--sampler` says:

        >>> class Tpe(Strategy):
        ...     name = "only-tpe"
        ...     def sampler(self, ground):
        ...         from search.samplers import known_sampler
        ...         return known_sampler("tpe")
    """

    name: ClassVar[str]
    scored_by: ClassVar[tuple[str, ...]] = ("fits", "supernet")
    """What may score its plans, first what does if nobody says."""
    knows_new_weights: ClassVar[bool] = True
    """Whether it can judge cuts that have weights of their own: layers that are fitted, and narrower blocks."""

    def scoring_network(self, ground: Ground) -> Supernet:
        """The weight-sharing network that scores plans, with the weights of the uncut one."""
        from pruner.network.surgery import supernet

        return supernet(ground.model, ground.extra_choices)

    def objective(self, ground: Ground, network: Supernet, draw: Draw) -> Objective:
        """What that network is trained for.

        Args:
            ground: What the strategy goes by.
            network: What `scoring_network` made.
            draw: Gives the plans of a step.
        """
        from pruner.training.supernet import SupernetObjective

        return SupernetObjective(network, draw, *ground.learning)

    @abstractmethod
    def sampler(self, ground: Ground) -> Sampler:
        """What proposes plans, once whatever scores them is trained or fitted."""


STRATEGIES: Final = Registry[Strategy]("strategy", SettingsError)


def strategy(cls: type[Strategy]) -> type[Strategy]:
    """Registers a strategy under its name. Raises `ValueError` when the name is taken."""
    STRATEGIES.add(cls.name, cls())
    return cls


def known_strategy(name: str) -> Strategy:
    """Raises `SettingsError` with the names there are."""
    return STRATEGIES.known(name)
