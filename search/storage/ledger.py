"""The study as a ledger: numbered slots, each with one plan that is evaluated exactly once.

Any number of processes may work on one study without talking to each other. This rests on two promises of Optuna's
storages: a trial appears with all that it is made with, under a number higher than every trial before it; and of
several processes that set a waiting trial running, one succeeds. So whoever finds an empty slot may plan it: of two
trials for one slot, or with one plan, the first counts, and the others are closed as surplus. A trial whose worker died
is closed too, and its slot is free again.

A study has parts, each with slots of its own: searches under different budgets, whose scores are of one kind. A plan
stands in one slot of one part.
"""

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.errors import StudyMismatchError
from search.space import Space
from search.storage.quietly import quietly
from search.storage.scores import is_score

_log = logging.getLogger("depthfinder.study")

_SLOT: Final = "slot"
_ROUND: Final = "round"
_HOW: Final = "how"
_PLAN: Final = "plan"
_LATENCY: Final = "latency_ms"
_BAR: Final = "bar"
_BEAT: Final = "beat"
_ORIGIN: Final = "origin"
_PART: Final = "part"
_IDENTITY: Final = "depthfinder"
_FIGURES: Final = ("accuracy", "cross_entropy", "agreement", "distance", "images")
_OPEN: Final = (TrialState.WAITING, TrialState.RUNNING)


@dataclass(frozen=True)
class Proposal:
    """A plan to evaluate, and what proposed it: `solver`, `draw`, `flip`, `random` or a sampler's name."""

    plan: Plan
    how: str


@dataclass(frozen=True)
class Entry:
    """One slot of the ledger, with its plan.

    Attributes:
        round: The round in which the plan was proposed.
        latency_ms: The plan's latency by the table, in milliseconds.
        bar: The score below which the plan need not be evaluated to the end.
        score: The plan's score, once it has one.
        origin: What tells apart proposals that were made by different rules: other limits, another sampler.
        number: Counts all that was ever planned in the study, in the order of time.
    """

    slot: int
    round: int
    proposal: Proposal
    latency_ms: float
    bar: float = -math.inf
    score: Score | None = None
    origin: str = ""
    number: int = field(default=-1, compare=False)

    @property
    def plan(self) -> Plan:
        """The plan of the slot."""
        return self.proposal.plan


@dataclass(frozen=True)
class Standing:
    """What a study holds at one moment.

    Attributes:
        here: The planned slots of one part of the study, in their order.
        elsewhere: Those of its other parts, in the order of time.
    """

    here: tuple[Entry, ...]
    elsewhere: tuple[Entry, ...]

    @property
    def scored(self) -> list[Entry]:
        """All entries with a score: those of other parts, then those here."""
        return [entry for entry in (*self.elsewhere, *self.here) if entry.score]


class Ledger:
    """The slots of one part of a study in an Optuna storage."""

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        identity: Mapping[str, str],
        directions: Sequence[str] = ("maximize",),
        *,
        part: str = "",
        patience_s: float = 60.0,
    ) -> None:
        """Opens the study, or makes it.

        Args:
            storage: The storage, from `open_storage` or `in_memory`.
            name: The name of the study.
            identity: What the study's scores depend on, in words.
            directions: Optuna's, of the score and, where there are two, of the latency.
            part: The part of the study, named by what is searched for.
            patience_s: After how many seconds without a sign of life a worker is taken for dead. With 0 this process is
                the only worker, and trials that are running are closed.

        Raises:
            StudyMismatchError: when the study is a search for something else; with the differences.
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
        self._part = part
        self._seen: dict[int, tuple[Any, float]] = {}
        self._mine: dict[int, int] = {}
        self._scored: dict[int, Entry] = {}
        self._beats = 0
        self._agree(name, dict(identity))
        if patience_s == 0:
            self._close([t for t in self._trials() if t.state == TrialState.RUNNING])
        self._tell_of_what_is_no_score(name)

    def standing(self) -> Standing:
        """What the study holds now."""
        standing = self._standing()
        here = tuple(self._entry(trial) for (part, _), trial in standing.items() if part == self._part)
        elsewhere = [self._entry(trial) for (part, _), trial in standing.items() if part != self._part]
        return Standing(here, tuple(sorted(elsewhere, key=lambda entry: entry.number)))

    def entries(self) -> list[Entry]:
        """The planned slots of this part, in their order."""
        return list(self.standing().here)

    def began(self, origin: str) -> float:
        """The number of this part's first entry of that origin, whatever became of it; infinity when there is none
        yet."""
        mine = (t for t in self._trials() if t.user_attrs.get(_ORIGIN) == origin and _part(t) == self._part)
        return min((trial.number for trial in mine), default=math.inf)

    def under_way(self, origin: str) -> set[int]:
        """The numbers of the entries of other origins that are being evaluated now."""
        running = (trial for trial in self._standing().values() if trial.state == TrialState.RUNNING)
        return {trial.number for trial in running if trial.user_attrs.get(_ORIGIN, "") != origin}

    def plan(self, space: Space, entries: Sequence[Entry]) -> None:
        """Puts entries into their slots, to wait for a worker; the choices and limits of `space` are recorded with
        them."""
        for entry in entries:
            self._storage.create_new_trial(self._study, _template(space, entry, self._part))

    def claim(self, peers: int) -> list[Entry]:
        """Claims this process's share of the waiting slots, one part in `peers`; it is to evaluate and `complete` them.

        All claimed entries are of one round and have the same bar.
        """
        waiting = [
            trial
            for (part, _), trial in self._standing().items()
            if part == self._part and trial.state == TrialState.WAITING
        ]
        claimed: list[Entry] = []
        for trial in waiting:
            entry = self._entry(trial)
            if len(claimed) * peers >= len(waiting):
                break
            if claimed and (entry.round, entry.bar) != (claimed[0].round, claimed[0].bar):
                break
            if self._take(trial):
                self._mine[entry.slot] = trial._trial_id
                claimed.append(entry)
        return claimed

    def complete(self, entry: Entry, score: Score) -> bool:
        """Enters the score of a claimed slot; returns False when the slot was given to another worker meanwhile, and
        the score is not needed."""
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
        """Gives back the slots that this process has claimed and not completed."""
        mine = set(self._mine.values())
        if mine:
            self._close([trial for trial in self._trials() if trial._trial_id in mine])
        self._mine.clear()

    def withdraw(self, *, but_for: str | None = None) -> None:
        """Empties the slots that wait for a worker, in all parts, except those of the origin `but_for`."""
        waiting = (trial for trial in self._trials() if trial.state == TrialState.WAITING)
        self._close([trial for trial in waiting if trial.user_attrs.get(_ORIGIN, "") != but_for])

    def beat(self) -> None:
        """Gives a sign of life for every slot that this process has claimed."""
        self._beats += 1
        for trial_id in list(self._mine.values()):
            try:
                self._storage.set_trial_user_attr(trial_id, _BEAT, self._beats)
            except UpdateFinishedTrialError:
                continue  # it was taken for dead; `complete` will find out

    def recover(self) -> int:
        """Closes the trials of workers that gave no sign of life for too long, by this process's own clock; returns how
        many.

        Their slots are free again. Whoever fills them plans the same plans, for plans follow from scores.
        """
        now = time.monotonic()
        dead = []
        mine = set(self._mine.values())
        for trial in self._standing().values():
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

    def _standing(self) -> dict[tuple[str, int], FrozenTrial]:
        """(part, slot) -> the trial that counts for it, in their order; surplus ones that wait are closed."""
        trials = [t for t in self._trials() if _SLOT in t.user_attrs and (t.state in _OPEN or _is_scored(t))]
        evaluated = {trial.user_attrs[_PLAN] for trial in trials if trial.state == TrialState.COMPLETE}
        first: dict[tuple[str, int], FrozenTrial] = {}
        plans: set[str] = set()
        surplus = []
        for trial in trials:
            place, plan = (_part(trial), trial.user_attrs[_SLOT]), trial.user_attrs[_PLAN]
            waits = trial.state == TrialState.WAITING
            if place in first or (waits and (plan in plans or plan in evaluated)):
                surplus += [trial] if waits else []
                continue
            first[place] = trial
            plans.add(plan)
        self._close(surplus)
        return dict(sorted(first.items()))

    def _entry(self, trial: FrozenTrial) -> Entry:
        """The entry of a trial; that of a complete trial is read once, for it does not change."""
        if trial.number not in self._scored:
            entry = _entry(trial)
            if trial.state != TrialState.COMPLETE:
                return entry
            self._scored[trial.number] = entry
        return self._scored[trial.number]

    def _trials(self) -> list[FrozenTrial]:
        return sorted(self._storage.get_all_trials(self._study, deepcopy=False), key=lambda trial: trial.number)

    def _tell_of_what_is_no_score(self, name: str) -> None:
        """Earlier versions entered whatever an evaluation came to."""
        standing = self._standing()
        found = [t for t in self._trials() if t.state == TrialState.COMPLETE and not _is_scored(t)]
        places = {(_part(t), t.user_attrs[_SLOT]): t.values[0] for t in found if _SLOT in t.user_attrs}
        left = {place: value for place, value in places.items() if place not in standing}
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
    """A storage in memory, which ends with this process."""
    return optuna.storages.InMemoryStorage()


def _part(trial: FrozenTrial) -> str:
    part: str = trial.user_attrs.get(_PART, "")
    return part


def _template(space: Space, entry: Entry, part: str) -> FrozenTrial:
    """A waiting trial with all that is known before the plan is evaluated."""
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
            _ORIGIN: entry.origin,
            _PART: part,
            **amounts,
        },
    )


def _entry(trial: FrozenTrial) -> Entry:
    found = trial.user_attrs
    proposal = Proposal(Plan.from_json(found[_PLAN]), found[_HOW])
    bar = -math.inf if found[_BAR] is None else found[_BAR]
    entry = Entry(
        found[_SLOT],
        found[_ROUND],
        proposal,
        found[_LATENCY],
        bar,
        origin=found.get(_ORIGIN, ""),
        number=trial.number,
    )
    if not _is_scored(trial):
        return entry
    return replace(entry, score=Score(trial.values[0], **{name: found.get(name) for name in _FIGURES}))
