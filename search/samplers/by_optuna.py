"""Optuna's samplers: each plan that they wish for is replaced by a new plan within the limits, near to it."""

from abc import abstractmethod
from collections.abc import Sequence
from random import Random
from typing import Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler

from search.feasible import feasible_plan, random_wish
from search.samplers.sampler import Proposals, Sampler, sampler
from search.space import Space
from search.storage.ledger import Entry, Proposal
from search.storage.quietly import quietly

# As its study fills up, a sampler returns to plans that it has seen; random wishes then find what is left of a small
# space.
_WISHES: Final = 4
_DRAWS: Final = 100


class ByOptuna(Sampler):
    """Asks one of Optuna's samplers, on a temporary study, so that the study that is kept holds nothing but plans to
    evaluate."""

    @abstractmethod
    def make(self, seed: int) -> BaseSampler:
        """Optuna's sampler, with this seed."""

    def propose(self, space: Space, history: Sequence[Entry], count: int, n_trials: int, seed: int) -> Proposals:
        """Proposes new plans near to what Optuna's sampler asks for, and random ones where these run out."""
        random, known = Random(f"{seed} {len(history)}"), {entry.plan for entry in history}
        found: list[Proposal] = []
        with quietly():
            study = self._study(space, history, random)
            for attempt in range(count * (_WISHES + _DRAWS)):
                if len(found) == count:
                    break
                early = attempt < count * _WISHES
                wish = study.ask(_distributions(space)).params if early else random_wish(space, random)
                plan = feasible_plan(space, wish, random)
                if plan is not None and plan not in known:
                    known.add(plan)
                    found.append(Proposal(plan, self.name if early else "random"))
        return Proposals(tuple(found))

    def _study(self, space: Space, history: Sequence[Entry], random: Random) -> optuna.Study:
        study = optuna.create_study(direction="maximize", sampler=self.make(random.getrandbits(32)))
        study.add_trials([_trial(space, entry) for entry in history])
        return study


@sampler
class Tpe(ByOptuna):
    """Tree-structured Parzen estimators (Bergstra et al., NeurIPS 2011)."""

    name = "tpe"

    def make(self, seed: int) -> BaseSampler:
        """Optuna's `TPESampler`, with this seed."""
        return TPESampler(seed=seed)


@sampler
class Gp(ByOptuna):
    """A Gaussian process with expected improvement, over choices without an order."""

    name = "gp"

    def make(self, seed: int) -> BaseSampler:
        """Optuna's `GPSampler`, with this seed."""
        return GPSampler(seed=seed)


@sampler
class Nsga2(ByOptuna):
    """The genetic algorithm NSGA-II (Deb et al., 2002). Optuna keeps its generations in the study, so the history is
    replayed trial by trial."""

    name = "nsga2"

    def make(self, seed: int) -> BaseSampler:
        """Optuna's `NSGAIISampler`, with this seed."""
        return NSGAIISampler(seed=seed)

    def _study(self, space: Space, history: Sequence[Entry], random: Random) -> optuna.Study:
        study = optuna.create_study(direction="maximize", sampler=self.make(random.getrandbits(32)))
        for entry in history:
            assert entry.score is not None
            study.enqueue_trial(dict(_trial(space, entry).params))
            study.tell(study.ask(_distributions(space)), entry.score.value)
        return study


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    return {block: CategoricalDistribution(choices) for block, choices in space.choices.items() if len(choices) > 1}


def _trial(space: Space, entry: Entry) -> optuna.trial.FrozenTrial:
    assert entry.score is not None
    distributions = _distributions(space)
    params = {block: entry.plan.choice_of(block) for block in distributions}
    return optuna.create_trial(params=params, distributions=distributions, value=entry.score.value)
