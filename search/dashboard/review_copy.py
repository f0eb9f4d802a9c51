"""The review copy of a search: a study of its own that optuna-dashboard shows, with everything known of each plan.

The run's own study is never served: the dashboard has no login and can delete studies, and what a reviewer wants
to see cannot be added to a finished trial.
"""

import io
import json
import shutil
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import optuna
from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from search.dashboard.notes import study_note, trial_note, winner_note
from search.dashboard.reviewed import ReviewedPlan
from search.errors import DashboardMissingError, ReviewError

Direction = Literal["maximize", "minimize"]
SCORE: Final = "score"
LATENCY: Final = "predicted_latency_ms"
_STAMP: Final = "built-from.txt"
# What is written here looks different from what an earlier version wrote: a copy of an earlier one is built again.
_FORMAT: Final = "review/1"


@dataclass(frozen=True)
class ReviewCopy:
    """The folder of a review copy: the study, its artifacts, and a stamp of what it was built from."""

    folder: Path

    @property
    def study_log(self) -> Path:
        """Optuna's journal. With SQLite, 200 plans of 24 blocks take half a minute to write; with the journal, three
        seconds."""
        return self.folder / "study.log"

    @property
    def artifacts(self) -> Path:
        """The folder of the pictures, plans and reports."""
        return self.folder / "artifacts"

    def is_of(self, built_from: str) -> bool:
        """Whether the copy is whole and was built from `built_from`, in the present format."""
        stamp = self.folder / _STAMP
        return stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp(built_from)


def build_review(
    plans: Sequence[ReviewedPlan],
    choices: Mapping[str, Sequence[str]],
    *,
    folder: Path,
    title: str,
    searched: Sequence[tuple[str, str]],
    built_from: str,
    directions: Sequence[Direction] = ("maximize",),
) -> ReviewCopy:
    """Builds the review copy of evaluated plans in a folder.

    An earlier copy in that folder is kept beside it, as `.before`. The copy gets its final name only when it is whole.

    Args:
        plans: The evaluated plans, with a unique number each.
        choices: Block -> what it may become, in running order.
        folder: Where the copy is to lie.
        title: The name of the study in the dashboard.
        searched: (label, plain text) for what was searched for, shown in the note of the study.
        built_from: Identifies the sources of the copy.
        directions: Those of the score and, if there are two, of the predicted latency.

    Raises:
        ReviewError: when the plans contradict each other: two winners, one that does not fit, or one number twice.
        DashboardMissingError: when optuna-dashboard is not installed.
    """
    check_installed()
    _check(plans)
    writing, before = (folder.with_name(folder.name + end) for end in (".writing", ".before"))
    shutil.rmtree(writing, ignore_errors=True)
    copy = ReviewCopy(writing)
    copy.artifacts.mkdir(parents=True)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        _write(copy, plans, choices, title, searched, directions)
    finally:
        optuna.logging.set_verbosity(verbosity)
    (writing / _STAMP).write_text(_stamp(built_from), encoding="utf-8")
    if folder.exists():
        shutil.rmtree(before, ignore_errors=True)
        folder.rename(before)
    writing.rename(folder)
    return ReviewCopy(folder)


def check_installed() -> None:
    """Raises `DashboardMissingError` when optuna-dashboard is not installed."""
    try:
        import optuna_dashboard  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "optuna_dashboard":
            raise
        raise DashboardMissingError(
            'optuna-dashboard is not installed: pip install "depthfinder[dashboard]"'
        ) from error


def _check(plans: Sequence[ReviewedPlan]) -> None:
    if len({one.number for one in plans}) < len(plans):
        raise ReviewError("two plans are said to have been evaluated as the same number")
    winners = [one for one in plans if one.is_winner]
    if len(winners) > 1:
        raise ReviewError(f"{len(winners)} plans are said to have won the search")
    for winner in winners:
        if not winner.is_within_budget:
            raise ReviewError(f"plan {winner.number} is said to have won, but {winner.verdict}")


def _write(
    copy: ReviewCopy,
    plans: Sequence[ReviewedPlan],
    choices: Mapping[str, Sequence[str]],
    title: str,
    searched: Sequence[tuple[str, str]],
    directions: Sequence[Direction],
) -> None:
    from optuna_dashboard import save_note

    storage = JournalStorage(JournalFileBackend(str(copy.study_log)))
    study = optuna.create_study(study_name=" ".join(title.split()), storage=storage, directions=list(directions))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([SCORE, LATENCY][: len(directions)])
    for what, text in searched:
        study.set_user_attr(what, text)
    store = FileSystemArtifactStore(copy.artifacts)
    constraints = {one.number: _constraints(one, plans, directions) for one in plans}
    shown = _in_order(plans, constraints, directions)
    pictures = [_keep(store, "block-map.svg", "image/svg+xml", one.picture_svg.encode()) for one in shown]
    for one, picture in zip(shown, pictures, strict=True):
        artifacts = [picture, _keep(store, "plan.json", "application/json", one.plan.to_json().encode())]
        if one.report is not None:
            artifacts.append(_keep(store, "report.html", "text/html", one.report.read_bytes()))
        study.add_trial(_trial(one, choices, constraints[one.number], artifacts, directions))
    blocks, winner = list(choices), None
    for one, artifact, trial in zip(shown, pictures, study.get_trials(deepcopy=False), strict=True):
        address = f"/artifacts/{study._study_id}/{trial._trial_id}/{artifact.artifact_id}"
        note = trial_note(one, blocks, constraints[one.number], address)
        save_note(optuna.trial.Trial(study, trial._trial_id), note)
        if one.is_winner:
            winner = winner_note(one, trial.number, blocks, address)
    save_note(study, study_note(searched, len(plans), sum(map(_is_ruled_out, constraints.values())), winner))


def _constraints(one: ReviewedPlan, plans: Sequence[ReviewedPlan], directions: Sequence[Direction]) -> dict[str, float]:
    """The reasons why a plan is out of the running, in words and with the unit of the figure: each figure above 0 is
    one."""
    if one.fits is None:
        found = {"ms over the budget by the table": one.latency_ms - one.budget_ms}
        if one.feasible != (one.latency_ms <= one.budget_ms):
            found = {"over the budget by the table": float(not one.feasible)}
    else:
        # Not in ms: a budget that is a share of the baseline is judged by the ratio, and by the end of its interval.
        found = {"not surely within the budget as measured": float(not one.fits)}
    winner = next((plan for plan in plans if plan.is_winner), None)
    if len(directions) == 1 and winner is not None and one.is_within_budget and one.score > winner.score:
        found["not chosen, though its score is higher than the winner's"] = 1.0
    return found


def _is_ruled_out(constraints: Mapping[str, float]) -> bool:
    return any(excess > 0 for excess in constraints.values())


def _in_order(
    plans: Sequence[ReviewedPlan], constraints: Mapping[int, Mapping[str, float]], directions: Sequence[Direction]
) -> list[ReviewedPlan]:
    """The plans in the order of evaluation, except that the winner takes the place of the first plan of its score.

    Of equal scores the dashboard calls the first the best. The two plans change places, so that the score at each
    place, and the history with it, stays as it was; `evaluated_as` of each tells its true number.
    """
    shown = sorted(plans, key=lambda one: one.number)
    winner = next((index for index, one in enumerate(shown) if one.is_winner), None)
    if winner is not None and len(directions) == 1:
        first = next(
            index
            for index, one in enumerate(shown)
            if one.score == shown[winner].score and not _is_ruled_out(constraints[one.number])
        )
        shown[first], shown[winner] = shown[winner], shown[first]
    return shown


def _trial(
    one: ReviewedPlan,
    choices: Mapping[str, Sequence[str]],
    constraints: Mapping[str, float],
    artifacts: Sequence[ArtifactMeta],
    directions: Sequence[Direction],
) -> optuna.trial.FrozenTrial:
    # The dashboard (0.21) knows constraints as the list under "constraints" that Optuna wrote before 5.0, for the grey
    # of its plots alone. Its best trial, and its Pareto front, are the best of all trials that are COMPLETE, whatever
    # their constraints. So that none that does not fit is called the best, such a trial is PRUNED: out of the running,
    # but with its true score, which a FAILed one could not have, and which no penalty has falsified. The list of
    # trials shows the state as well, and has no other mark for what is infeasible.
    return optuna.create_trial(
        state=TrialState.PRUNED if _is_ruled_out(constraints) else TrialState.COMPLETE,
        values=[one.score, one.latency_ms][: len(directions)],
        params={name: one.plan.choice_of(name) for name in choices},
        distributions={
            name: optuna.distributions.CategoricalDistribution(tuple(offered)) for name, offered in choices.items()
        },
        user_attrs=_attributes(one),
        system_attrs={"constraints": list(constraints.values())}
        | {f"artifacts:{meta.artifact_id}": json.dumps(asdict(meta)) for meta in artifacts},
        constraints=dict(constraints),
    )


def _attributes(one: ReviewedPlan) -> dict[str, Any]:
    """The attributes that the dashboard's tables show and sort by; unknown ones are left out.

    All of them are short, for the longest decides how wide the page of a trial is. The plan is among the artifacts.
    """
    measured, details = one.measured, one.details
    found = {
        "verdict": one.verdict,
        "feasible": "yes" if one.is_within_budget else "no",
        LATENCY: one.latency_ms,
        "budget_ms": one.budget_ms,
        "measured_latency_ms": None if measured is None else measured.latency_ms,
        "measured_low_ms": None if measured is None else measured.low_ms,
        "measured_high_ms": None if measured is None else measured.high_ms,
        "measured_ratio": None if measured is None else one.ratio,
        "accuracy": details.accuracy,
        "cross_entropy": details.cross_entropy,
        "agreement": details.agreement,
        "distance": details.distance,
        "images": details.images,
        "proposed_by": details.how,
        "evaluated_as": one.number,
    }
    return {name: value for name, value in found.items() if value is not None}


def _keep(store: FileSystemArtifactStore, filename: str, mimetype: str, content: bytes) -> ArtifactMeta:
    """Stores a file among the artifacts; `upload_artifact` would do so only for trials that are not finished."""
    meta = ArtifactMeta(artifact_id=str(uuid.uuid4()), filename=filename, mimetype=mimetype, encoding=None)
    store.write(meta.artifact_id, io.BytesIO(content))
    return meta


def _stamp(built_from: str) -> str:
    return f"{_FORMAT}\n{built_from}\n"
