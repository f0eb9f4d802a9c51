"""What proposes plans: the protocol, and the registry of those that are known."""

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
    """Plans to evaluate next, none of which was evaluated before; fewer than were asked for when there are no more.

    `attainable` is the score that the sampler holds possible for a plan within the limits: None if it has no opinion,
    minus infinity when every plan was evaluated.
    """

    proposals: tuple[Proposal, ...]
    attainable: float | None = None


class Sampler(ABC):
    """Proposes plans, as a function of what it is asked alone: nothing is remembered from one call to the next."""

    name: ClassVar[str]
    round_size: ClassVar[int] = 1
    """How many plans are best proposed at once, at the least."""
    has_opinion: ClassVar[bool] = False
    """Whether it says what is attainable."""
    seeks_one: ClassVar[bool] = True
    """Whether it is after the one best plan, so that those which cannot be it need not be evaluated to the end."""

    exhausted: ClassVar[str] = "hardly a plan is left that was not evaluated"
    """Why a search ends when it proposes fewer plans than it was asked for."""

    def opening(self, space: Space, n_trials: int) -> int:
        """How many plans it wants to see before it learns from any."""
        return min(self.round_size, n_trials)

    def size_behind(self, count: int) -> int:
        """How many plans are best proposed at once, after so many."""
        return self.round_size

    @abstractmethod
    def propose(self, space: Space, history: Sequence[Entry], count: int, n_trials: int, seed: int) -> Proposals:
        """Up to `count` plans after those of `history`, all of which have a score, of `n_trials` in all."""


SAMPLERS: Final = Registry[Sampler]("sampler", UnknownSamplerError)


def sampler(cls: type[Sampler]) -> type[Sampler]:
    """Registers a sampler under its name. Raises `ValueError` when the name is taken."""
    SAMPLERS.add(cls.name, cls())
    return cls


def known_sampler(name: str) -> Sampler:
    """Raises `UnknownSamplerError` with the names there are."""
    return SAMPLERS.known(name)
