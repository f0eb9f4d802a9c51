"""The review copy: what Optuna and the dashboard's own code read in it is what the search found."""

import dataclasses
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from markdown_it import MarkdownIt
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from depthfinder.report.review import reviewed_plans
from pruner.choices.plan import Plan
from reviews import EARLIER, INFEASIBLE, NUM_PLANS, TRAP, UNFIT, WINNER, choices, found, measured
from search.dashboard.notes import as_text
from search.dashboard.review_copy import Direction, ReviewCopy, build_review
from search.dashboard.reviewed import Details, ReviewedPlan
from search.errors import ReviewError
from tables import DIGITS

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("optuna_dashboard"), reason="no optuna-dashboard here")


def choices_of_blocks() -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(DIGITS.table.blocks, ("keep", "merge", "drop"))


def reviewed(tmp_path: Path) -> list[ReviewedPlan]:
    report = tmp_path / "report.html"
    report.write_text("<title>report</title>")
    return reviewed_plans(
        found(DIGITS.table),
        Plan(DIGITS.table.model, choices(DIGITS.table, WINNER)),
        DIGITS.table,
        report,
    )


def built(plans: Sequence[ReviewedPlan], tmp_path: Path, directions: Sequence[Direction] = ("maximize",)) -> ReviewCopy:
    return build_review(
        plans,
        choices_of_blocks(),
        folder=tmp_path / "review",
        title="a title",
        searched=[("network", DIGITS.table.model)],
        built_from="these",
        directions=directions,
    )


def study_of(copy: ReviewCopy) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(copy.study_log)))
    return optuna.load_study(study_name=None, storage=storage)


def served(copy: ReviewCopy) -> dict[str, Any]:
    """What the dashboard tells the browser of the study."""
    from optuna_dashboard import wsgi

    app = wsgi(JournalStorage(JournalFileBackend(str(copy.study_log))), FileSystemArtifactStore(copy.artifacts))
    environ: dict[str, Any] = {"PATH_INFO": "/api/studies/0", "QUERY_STRING": "after=0"}
    setup_testing_defaults(environ)
    answer: dict[str, Any] = json.loads(b"".join(app(environ, lambda *_: None)))
    return answer


def test_the_winner_is_the_best_for_optuna_and_for_the_dashboard(tmp_path: Path) -> None:
    copy = built(reviewed(tmp_path), tmp_path)
    (best,) = served(copy)["best_trials"]
    attributes = {attribute["key"]: attribute["value"] for attribute in best["user_attrs"]}
    assert attributes["evaluated_as"] == str(WINNER)
    assert attributes["verdict"] == "the winner: fits, as measured"
    assert study_of(copy).best_trial.number == best["number"]
    assert study_of(copy).best_trial.user_attrs["evaluated_as"] == WINNER


def test_every_trial_carries_what_is_known_of_its_plan(tmp_path: Path) -> None:
    plans = {one.number: one for one in reviewed(tmp_path)}
    copy = built(list(plans.values()), tmp_path)
    trials = study_of(copy).trials
    assert len(trials) == NUM_PLANS
    for trial in trials:
        one = plans[trial.user_attrs["evaluated_as"]]
        assert Plan(one.plan.model, trial.params) == one.plan
        assert trial.value == one.score
        assert trial.user_attrs["predicted_latency_ms"] == one.latency_ms
        assert trial.user_attrs["feasible"] == ("no" if one.number in (INFEASIBLE, UNFIT) else "yes")
        assert ("measured_latency_ms" in trial.user_attrs) == (one.number in (WINNER, UNFIT, 13))
        storage = JournalStorage(JournalFileBackend(str(copy.study_log)))
        kept = {meta.filename: meta for meta in get_all_artifact_meta(trial, storage=storage)}
        assert set(kept) == {"block-map.svg", "plan.json"} | ({"report.html"} if one.is_winner else set())
        store = FileSystemArtifactStore(copy.artifacts)
        assert store.open_reader(kept["block-map.svg"].artifact_id).read().decode() == one.picture_svg
        assert Plan.from_json(store.open_reader(kept["plan.json"].artifact_id).read().decode()) == one.plan


def test_what_does_not_fit_is_out_of_the_running_with_its_true_score(tmp_path: Path) -> None:
    copy = built(reviewed(tmp_path), tmp_path)
    infeasible, unfit = (study_of(copy).trials[number] for number in (INFEASIBLE, UNFIT))
    assert [trial.state for trial in (infeasible, unfit)] == [TrialState.PRUNED] * 2
    assert [trial.value for trial in (infeasible, unfit)] == [0.95, 0.9]
    assert infeasible.constraints["ms over the budget by the table"] > 0
    assert unfit.constraints["not surely within the budget as measured"] == 1
    seen = {trial["number"]: trial for trial in served(copy)["trials"]}
    broken = {number for number, trial in seen.items() if any(excess > 0 for excess in trial["constraints"])}
    assert broken == {INFEASIBLE, UNFIT}
    assert "Does not surely fit, as measured" in seen[UNFIT]["note"]["body"].replace("\\", "")


def test_of_equal_scores_the_winner_is_the_first_and_no_score_moves(tmp_path: Path) -> None:
    plans = reviewed(tmp_path)
    trials = study_of(built(plans, tmp_path)).trials
    assert [trial.value for trial in trials] == [one.score for one in sorted(plans, key=lambda one: one.number)]
    moved = {trial.number: trial.user_attrs["evaluated_as"] for trial in trials}
    assert {here: there for here, there in moved.items() if here != there} == {EARLIER: WINNER, WINNER: EARLIER}


def test_what_scores_above_the_winner_and_was_not_chosen_is_not_the_best(tmp_path: Path) -> None:
    plans = [dataclasses.replace(one, score=0.99) if one.number == 5 else one for one in reviewed(tmp_path)]
    copy = built(plans, tmp_path)
    assert served(copy)["best_trials"][0]["number"] == EARLIER
    assert study_of(copy).trials[5].state == TrialState.PRUNED
    assert "not chosen" in served(copy)["trials"][5]["note"]["body"]


def test_a_pareto_front_holds_nothing_that_does_not_fit(tmp_path: Path) -> None:
    plans = reviewed(tmp_path)
    copy = built(plans, tmp_path, ("maximize", "minimize"))
    within = [one for one in plans if one.is_within_budget]
    front = {
        one.number
        for one in within
        if not any(
            (other.score, -other.latency_ms) != (one.score, -one.latency_ms)
            and other.score >= one.score
            and other.latency_ms <= one.latency_ms
            for other in within
        )
    }
    assert {trial["number"] for trial in served(copy)["best_trials"]} == front
    assert {trial.number for trial in study_of(copy).best_trials} == front
    assert served(copy)["objective_names"] == ["score", "predicted_latency_ms"]
    assert front
    assert INFEASIBLE not in front


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"is_winner": True}, "2 plans are said to have won"),
        ({"number": WINNER}, "evaluated as the same number"),
        ({"is_winner": False, "number": 99}, None),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: dict[str, Any], message: str | None) -> None:
    plans = [dataclasses.replace(one, **changes) if one.number == 5 else one for one in reviewed(tmp_path)]
    if message is None:
        assert len(study_of(built(plans, tmp_path)).trials) == NUM_PLANS
        return
    with pytest.raises(ReviewError, match=message):
        built(plans, tmp_path)
    assert not (tmp_path / "review").exists()


def test_a_winner_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    plans = [dataclasses.replace(one, fits=False) if one.is_winner else one for one in reviewed(tmp_path)]
    with pytest.raises(ReviewError, match="does not surely fit, as measured"):
        built(plans, tmp_path)


def test_an_interrupted_build_leaves_the_copy_before_it_as_it_was(tmp_path: Path) -> None:
    plans = reviewed(tmp_path)
    copy = built(plans, tmp_path)
    before = copy.study_log.read_bytes()
    gone = [dataclasses.replace(one, report=tmp_path / "gone.html") if one.number == 3 else one for one in plans]
    with pytest.raises(FileNotFoundError):
        built(gone, tmp_path)
    assert copy.study_log.read_bytes() == before
    assert copy.is_of("these")
    assert not copy.is_of("others")
    built(plans, tmp_path)
    assert (tmp_path / "review.before" / "study.log").read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("review*")) == ["review", "review.before"]


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    plan = Plan(DIGITS.table.model)
    one = ReviewedPlan(0, plan, 0.5, 1.0, 2.0, True, None, None, None, False, Details(), "<svg/>")
    trial = study_of(built([one], tmp_path)).trials[0]
    assert set(trial.user_attrs) == {"verdict", "feasible", "predicted_latency_ms", "budget_ms", "evaluated_as"}
    assert one.verdict == "fits by the table; not measured"
    assert dataclasses.replace(one, measured=measured(1.0), fits=True).verdict == "fits, as measured"


@pytest.mark.parametrize("name", [TRAP, "a_b*c*", "<b>", "| x |", "1. one", "https://x.org", "&amp;", "~~x~~", "a\\*b"])
def test_names_stand_in_notes_letter_by_letter(name: str) -> None:
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"- {as_text(name)}")
    shown = html.removeprefix("<ul>\n<li>").removesuffix("</li>\n</ul>\n")
    assert "<" not in shown
    unescaped = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    assert unescaped == " ".join(name.split())
