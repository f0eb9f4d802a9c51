"""Samplers propose plans: what all of them promise, and the registry of those that have names."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from profiles.registry import Registry
from search.errors import UnknownSamplerError
from search.space import Space
from search.storage.ledger import Entry, Proposal


@dataclass(frozen=True)
class Proposals:
    """Plans to evaluate next, none of which was evaluated before.

    Attributes:
        proposals: The plans; fewer than were asked for when there are no more.
        attainable: The score that the sampler holds possible for a plan within the limits; None if it has no
            opinion, minus infinity when every plan was evaluated.
    """

    proposals: tuple[Proposal, ...]
    attainable: float | None = None


class Sampler(ABC):
    """Proposes plans, as a function of its arguments alone: nothing is remembered from one call to the next."""

    name: ClassVar[str]
    round_size: ClassVar[int] = 1
    """The smallest number of plans that are best proposed together."""
    has_opinion: ClassVar[bool] = False
    """Whether it says which score is attainable."""
    seeks_one: ClassVar[bool] = True
    """Whether it looks for the one best plan, so that others need not be evaluated to the end."""

    exhausted: ClassVar[str] = "hardly a plan is left that was not evaluated"
    """Why a search ends when the sampler proposes fewer plans than it was asked for."""

    def opening(self, space: Space, n_trials: int) -> int:
        """How many plans it proposes before it learns from any, in a search of `n_trials` plans."""
        return min(self.round_size, n_trials)

    def size_behind(self, count: int) -> int:
        """How many plans are best proposed together, after `count` were proposed."""
        return self.round_size

    @abstractmethod
    def propose(self, space: Space, history: Sequence[Entry], count: int, n_trials: int, seed: int) -> Proposals:
        """Proposes up to `count` plans that were not evaluated yet.

        Args:
            space: The plans that may be proposed.
            history: The entries that were evaluated, each with a score.
            count: How many plans are asked for.
            n_trials: How many plans the whole search evaluates.
            seed: What random numbers follow from, together with the history.
        """


SAMPLERS: Final = Registry[Sampler]("sampler", UnknownSamplerError)


def sampler(cls: type[Sampler]) -> type[Sampler]:
    """Registers a class of samplers under its name. Raises `ValueError` when the name is taken."""
    SAMPLERS.add(cls.name, cls())
    return cls


def known_sampler(name: str) -> Sampler:
    """The sampler of that name.

    Raises `UnknownSamplerError`, with the names that there are.

    Example:
        >>> known_sampler("auto").round_size
        8
    """
    return SAMPLERS.known(name)
