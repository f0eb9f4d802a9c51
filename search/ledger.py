"""The study as a ledger: numbered slots, each with one plan, each evaluated exactly once by whoever comes first.

Any number of processes may work on one study without talking to each other. It rests on two promises of Optuna's
storages: a trial appears with all that it is made with, under a number higher than every trial before it; and of
several that set a waiting trial running, one succeeds. So whoever finds slots to be planned may plan them: of two
trials for one slot the first counts, and the others are closed as surplus. A trial whose worker died is closed too, and
its slot is free again.
"""

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pruner.plan import Plan
from pruner.score import Score
from search.quietly import quietly
from search.scores import is_score
from search.space import Space

_log = logging.getLogger("depthfinder.study")

_SLOT: Final = "slot"
_ROUND: Final = "round"
_HOW: Final = "how"
_PLAN: Final = "plan"
_LATENCY: Final = "latency_ms"
_BAR: Final = "bar"
_BEAT: Final = "beat"
_IDENTITY: Final = "depthfinder"
_FIGURES: Final = ("accuracy", "cross_entropy", "agreement", "images")
_OPEN: Final = (TrialState.WAITING, TrialState.RUNNING)


class StudyMismatchError(Exception):
    """The study is there, and it is a search for something else."""


@dataclass(frozen=True)
class Proposal:
    """A plan to evaluate, and how it was come by: `solver`, `draw`, `flip`, `random` or a sampler's name."""

    plan: Plan
    how: str


@dataclass(frozen=True)
class Entry:
    """One slot: its plan and the plan's latency by the table, the round it was proposed in, the score below which it
    need not be evaluated to the end, and its own score once it has one."""

    slot: int
    round: int
    proposal: Proposal
    latency_ms: float
    bar: float = -math.inf
    score: Score | None = None

    @property
    def plan(self) -> Plan:
        return self.proposal.plan


class Ledger:
    """The slots of one study in an Optuna storage. `identity` is what the study is a search for, in words."""

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        identity: Mapping[str, str],
        directions: Sequence[str] = ("maximize",),
        *,
        patience_s: float = 60.0,
    ) -> None:
        """Opens the study, or makes it. A worker that gives no sign for `patience_s` is taken for dead; with 0 whoever
        opens the study is its only worker, and trials that run belong to nobody.

        Raises `StudyMismatchError`, with the differences, when the study is a search for something else.
        """
        self._storage = optuna.storages.get_storage(storage)
        self._directions = [StudyDirection[direction.upper()] for direction in directions]
        try:
            with quietly():
                self._study = self._storage.create_new_study(self._directions, name)
        except DuplicatedStudyError:
            self._study = self._storage.get_study_id_from_name(name)
            self._directions = self._storage.get_study_directions(self._study)
        self.patience_s = patience_s
        self._seen: dict[int, tuple[Any, float]] = {}
        self._mine: dict[int, int] = {}
        self._beats = 0
        self._agree(name, dict(identity))
        if patience_s == 0:
            self._close([t for t in self._trials() if t.state == TrialState.RUNNING])
        self._tell_of_what_is_no_score(name)

    def entries(self) -> list[Entry]:
        """The slots that are planned, in order."""
        return [_entry(trial) for trial in self._first_by_slot().values()]

    def plan(self, space: Space, entries: Sequence[Entry]) -> None:
        """Puts entries into slots, for whoever comes to claim them."""
        for entry in entries:
            self._storage.create_new_trial(self._study, _template(space, entry))

    def claim(self, peers: int) -> list[Entry]:
        """One of `peers` shares of the slots that wait for somebody; they are this process's to `complete`.

        All are of one round, and of equal bar.
        """
        waiting = [(slot, t) for slot, t in self._first_by_slot().items() if t.state == TrialState.WAITING]
        claimed: list[Entry] = []
        for slot, trial in waiting:
            entry = _entry(trial)
            if len(claimed) * peers >= len(waiting) or (claimed and entry.round != claimed[0].round):
                break
            if self._take(trial):
                self._mine[slot] = trial._trial_id
                claimed.append(entry)
        return claimed

    def complete(self, entry: Entry, score: Score) -> bool:
        """Enters a score; False when the slot was given to somebody else meanwhile, and the score is not needed."""
        trial_id = self._mine.pop(entry.slot)
        try:
            for name in _FIGURES:
                if getattr(score, name) is not None:
                    self._storage.set_trial_user_attr(trial_id, name, getattr(score, name))
            values = [score.value, *([entry.latency_ms] if len(self._directions) > 1 else [])]
            return self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, values)
        except UpdateFinishedTrialError:
            return False

    def release(self) -> None:
        """Gives back what this process has claimed and not completed."""
        mine = set(self._mine.values())
        self._close([trial for trial in self._trials() if trial._trial_id in mine])
        self._mine.clear()

    def withdraw(self) -> None:
        """Empties the slots that wait for somebody."""
        self._close([trial for trial in self._trials() if trial.state == TrialState.WAITING])

    def beat(self) -> None:
        """Gives a sign of life for all that is claimed."""
        self._beats += 1
        for trial_id in list(self._mine.values()):
            try:
                self._storage.set_trial_user_attr(trial_id, _BEAT, self._beats)
            except UpdateFinishedTrialError:
                continue  # it was taken for dead; `complete` will find out

    def recover(self) -> int:
        """Closes the trials of workers that gave no sign for too long, by this process's own clock; says how many.

        Their slots are free again: whoever finds them so plans the same plans for them, for plans follow from scores.
        """
        now = time.monotonic()
        dead = []
        mine = set(self._mine.values())
        for trial in self._first_by_slot().values():
            if trial.state != TrialState.RUNNING or trial._trial_id in mine:
                continue
            sign = trial.user_attrs.get(_BEAT)
            before, since = self._seen.get(trial._trial_id, (None, now))
            if trial._trial_id not in self._seen or sign != before:
                self._seen[trial._trial_id] = sign, now
            elif now - since > self.patience_s:
                dead.append(trial)
        return self._close(dead)

    def _close(self, trials: Sequence[FrozenTrial]) -> int:
        """Fails open trials, so that their slots are free again; counts those that nobody else had closed."""
        closed = 0
        for trial in trials:
            try:
                self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            except UpdateFinishedTrialError:
                continue
            closed += 1
        return closed

    def _take(self, trial: FrozenTrial) -> bool:
        try:
            return self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    def _first_by_slot(self) -> dict[int, FrozenTrial]:
        """The trial that counts for each slot, in the order of slots; surplus ones that wait are closed in passing."""
        first: dict[int, FrozenTrial] = {}
        surplus = []
        for trial in self._trials():
            slot = trial.user_attrs.get(_SLOT)
            if slot is None or not (trial.state in _OPEN or _is_scored(trial)):
                continue
            if slot not in first:
                first[slot] = trial
            elif trial.state == TrialState.WAITING:
                surplus.append(trial)
        self._close(surplus)
        return dict(sorted(first.items()))

    def _trials(self) -> list[FrozenTrial]:
        return sorted(self._storage.get_all_trials(self._study, deepcopy=False), key=lambda trial: trial.number)

    def _tell_of_what_is_no_score(self, name: str) -> None:
        """Earlier versions entered whatever an evaluation came to."""
        standing = self._first_by_slot()
        found = [t for t in self._trials() if t.state == TrialState.COMPLETE and not _is_scored(t)]
        left = {t.user_attrs[_SLOT]: t.values[0] for t in found if t.user_attrs.get(_SLOT) not in (None, *standing)}
        if left:
            _log.warning(
                "the study %r holds %d plans whose evaluation came to no score (%s): they are evaluated again",
                name,
                len(left),
                ", ".join(sorted({str(value) for value in left.values()})),
            )

    def _agree(self, name: str, identity: dict[str, str]) -> None:
        text = self._storage.get_study_user_attrs(self._study).get(_IDENTITY)
        if text is None:
            self._storage.set_study_user_attr(self._study, _IDENTITY, json.dumps(identity))
            return
        there = json.loads(text)
        differences = [
            f"{key}: {there.get(key)} there, {identity.get(key)} here"
            for key in {**there, **identity}
            if there.get(key) != identity.get(key)
        ]
        if differences:
            raise StudyMismatchError(
                f"the study {name!r} is a search for something else ({'; '.join(differences)}); "
                "give this one a name of its own with --study-name"
            )


def _is_scored(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE and is_score(trial.values[0])


def in_memory() -> BaseStorage:
    """A storage that is gone with this process."""
    return optuna.storages.InMemoryStorage()


def _template(space: Space, entry: Entry) -> FrozenTrial:
    """A waiting trial with all that is known before it is evaluated."""
    amounts = {limit.text: limit.amount(entry.plan) for limit in space.limits}
    return optuna.trial.create_trial(
        state=TrialState.WAITING,
        params={block: entry.plan.choice_of(block) for block in space.choices},
        distributions={block: CategoricalDistribution(choices) for block, choices in space.choices.items()},
        constraints={limit.text: amounts[limit.text] - limit.bound for limit in space.limits},
        user_attrs={
            _SLOT: entry.slot,
            _ROUND: entry.round,
            _HOW: entry.proposal.how,
            _PLAN: entry.plan.to_json(),
            _LATENCY: entry.latency_ms,
            _BAR: entry.bar if math.isfinite(entry.bar) else None,
            **amounts,
        },
    )


def _entry(trial: FrozenTrial) -> Entry:
    found = trial.user_attrs
    proposal = Proposal(Plan.from_json(found[_PLAN]), found[_HOW])
    bar = -math.inf if found[_BAR] is None else found[_BAR]
    entry = Entry(found[_SLOT], found[_ROUND], proposal, found[_LATENCY], bar)
    if not _is_scored(trial):
        return entry
    return replace(entry, score=Score(trial.values[0], **{name: found.get(name) for name in _FIGURES}))
