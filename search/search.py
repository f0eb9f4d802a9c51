"""The search for the best plan under a latency budget: Optuna proposes, the table keeps proposals within bounds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Final

import optuna

from profiles.errors import ProfileError
from profiles.profile import Profile
from pruner.chain import Chain
from pruner.plan import Plan
from pruner.progress import Progress, silent
from search.budget import Budget
from search.candidate import Candidate, SearchResult
from search.feasible import check_reachable, feasible_plan

Evaluate = Callable[[Sequence[Plan]], Sequence[float]]
"""Scores of plans, higher is better."""

# TPE returns to where it has been as its study fills up; chance then finds what is left of a small space.
_TPE_ATTEMPTS: Final = 4
_RANDOM_ATTEMPTS: Final = 400
_PLAN: Final = "plan"
_LATENCY: Final = "latency_ms"


@contextmanager
def _warnings_alone() -> Iterator[None]:
    """Keeps Optuna from announcing every study that proposals are drawn from."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@_warnings_alone()
def search(
    chain: Chain,
    profile: Profile,
    *,
    budget: Budget,
    evaluate: Evaluate,
    storage: str | None = None,
    study_name: str = "depthfinder",
    n_trials: int = 64,
    seed: int = 0,
    progress: Progress = silent,
) -> SearchResult:
    """Evaluates up to `n_trials` different plans, each of which the table says fits `budget`.

    TPE (Bergstra et al., NeurIPS 2011) proposes a choice for every block; the proposal is repaired to a plan that fits
    and leaves none of the budget unused. The study holds exactly the plans that were evaluated; with a `storage` the
    same call goes on from those it finds there, and proposes what it would have proposed undisturbed.

    Raises `BudgetUnreachableError` when no plan fits, and `ProfileError` when the table is another chain's.
    """
    if profile.fingerprint != chain.fingerprint:
        raise ProfileError(f"this profile of {profile.model} was measured for another network than {chain.model} here")
    check_reachable(chain, profile, budget)
    study = optuna.create_study(study_name=study_name, storage=storage, direction="maximize", load_if_exists=True)
    trials = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    done = [Plan.from_json(trial.user_attrs[_PLAN]) for trial in trials]
    while len(done) < n_trials:
        plan = _propose(chain, profile, budget, trials, set(done), seed)
        if plan is None:
            break  # there is hardly a plan left that fits and wastes nothing
        (score,) = evaluate([plan])
        trial = _trial(chain, plan, score, profile.latency_ms(plan), budget)
        study.add_trial(trial)
        trials.append(trial)
        done.append(plan)
        progress(len(done), n_trials, f"best {max(t.value for t in trials if t.value is not None):.4f}")
    candidates = [Candidate(p, _score(t), profile.latency_ms(p)) for p, t in zip(done, trials, strict=True)]
    return SearchResult(tuple(sorted(candidates, key=lambda c: (-c.score, c.latency_ms, c.plan.to_json()))))


def _propose(
    chain: Chain,
    profile: Profile,
    budget: Budget,
    trials: Sequence[optuna.trial.FrozenTrial],
    done: set[Plan],
    seed: int,
) -> Plan | None:
    """The next plan, a function of the seed and of what was evaluated so far: nothing else is remembered."""
    random = Random(f"{seed} {len(done)}")
    for attempt in range(_TPE_ATTEMPTS + _RANDOM_ATTEMPTS):
        if attempt < _TPE_ATTEMPTS:
            wished = _tpe_wish(chain, trials, random.getrandbits(32))
        else:
            wished = {block.name: random.choice(block.choices) for block in chain.blocks}
        plan = feasible_plan(chain, profile, budget, wished, random)
        if plan not in done:
            return plan
    return None


def _tpe_wish(chain: Chain, trials: Sequence[optuna.trial.FrozenTrial], seed: int) -> dict[str, str]:
    """What TPE would try next, whether or not it fits the budget: asked of a study that is thrown away, so that the
    stored one holds nothing but plans that were evaluated."""
    proposer = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    proposer.add_trials(trials)
    return proposer.ask(_distributions(chain)).params


def _distributions(chain: Chain) -> dict[str, optuna.distributions.BaseDistribution]:
    return {block.name: optuna.distributions.CategoricalDistribution(block.choices) for block in chain.blocks}


def _trial(chain: Chain, plan: Plan, score: float, latency_ms: float, budget: Budget) -> optuna.trial.FrozenTrial:
    return optuna.create_trial(
        params={block.name: plan.choice_of(block.name) for block in chain.blocks},
        distributions=_distributions(chain),
        value=score,
        constraints={_LATENCY: latency_ms - budget.latency_ms},
        user_attrs={_PLAN: plan.to_json(), _LATENCY: latency_ms},
    )


def _score(trial: optuna.trial.FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value
