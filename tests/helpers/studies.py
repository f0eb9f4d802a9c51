"""What several processes do to one study at the same time: `at_once(8, claim, url, finish)`."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.storage.opening import open_storage

Result = TypeVar("Result")

NAME = "study"
_PARTS = tuple(f"part {i}" for i in range(6))
_CONTEXT = multiprocessing.get_context("forkserver")
# Imported once; each process is a copy of one that did, made before there was any thread or connection.
_SLOW_IMPORTS = ["search.storage.opening", "alembic.command", "psycopg", "sqlalchemy.dialects.postgresql.psycopg"]
_together: list[Barrier] = []


def at_once(num_processes: int, work: Callable[..., Result], *arguments: object) -> list[Result]:
    """What `work` returns in each of several processes; they wait for each other where it says so."""
    _CONTEXT.set_forkserver_preload(_SLOW_IMPORTS)
    barrier = _CONTEXT.Barrier(num_processes)
    with _CONTEXT.Pool(num_processes, initializer=_remember, initargs=(barrier,)) as pool:
        return pool.starmap(work, [arguments] * num_processes, chunksize=1)


def _remember(barrier: Barrier) -> None:
    _together.append(barrier)


def open_study(url: str) -> optuna.Study:
    storage = open_storage(url)
    return optuna.create_study(storage=storage, study_name=NAME, direction="maximize", load_if_exists=True)


def waiting(value: int = 0) -> FrozenTrial:
    """A proposal, with so many attributes that one might be seen without another."""
    return optuna.create_trial(
        state=TrialState.WAITING,
        params={"x": value % 4},
        distributions={"x": optuna.distributions.IntDistribution(0, 3)},
        user_attrs=dict.fromkeys(_PARTS, value),
        constraints={"latency_ms": -1.5},
    )


def is_whole(trial: FrozenTrial) -> bool:
    parts = {trial.user_attrs.get(part) for part in _PARTS}
    return len(parts) == 1 and None not in parts and trial.constraints == {"latency_ms": -1.5} and "x" in trial.params


def propose(url: str, num_trials: int) -> list[str]:
    """Adds trials to a study that nobody has opened before, and looks after each at all there are: returns what was not
    as it should be."""
    _together[0].wait()
    study = open_study(url)
    storage = open_storage(url)
    wrong = []
    for value in range(num_trials):
        study._storage.create_new_trial(study._study_id, template_trial=waiting(value))
        # The study remembers what it read before; the storage does not.
        for trials in (study.get_trials(deepcopy=False), storage.get_all_trials(study._study_id)):
            if [trial.number for trial in trials] != list(range(len(trials))):
                wrong.append(f"numbers {[trial.number for trial in trials]}")
            wrong += [f"trial {trial.number} is not whole" for trial in trials if not is_whole(trial)]
    return wrong


def claim(url: str, finish: bool) -> list[str]:
    """Tries to get every waiting trial, in the same order as everybody else: by trial number, how it went."""
    study = open_study(url)
    trials = study.get_trials()
    _together[0].wait()
    outcomes = []
    for trial in trials:
        try:
            won = study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        except optuna.exceptions.UpdateFinishedTrialError:
            outcomes.append("finished")
            continue
        if won and finish:
            study._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [0.5])
        outcomes.append("won" if won else "lost")
    return outcomes
