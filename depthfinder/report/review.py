"""Makes the review copy of a run's search, for the dashboard: all that its files say about every plan."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from depthfinder.config.run import RunConfig
from depthfinder.console import log
from depthfinder.folder.contents import contents_of
from depthfinder.folder.run_folder import RunFolder
from depthfinder.report.pictures import block_map
from profiles.measurement import Measurement
from profiles.profile import Profile
from profiles.store import load_profile
from profiles.walk import unthinned
from pruner.choices.choice import KEEP
from pruner.choices.plan import Plan
from search.dashboard.review_copy import ReviewCopy, build_review, check_installed
from search.dashboard.reviewed import Details, ReviewedPlan
from search.errors import ReviewError

_NEEDED: Final = ("search.json", "plan.json", "profile.json")
_NEEDED_OF_A_FRONT: Final = ("front.json", "profile.json")
_SOURCES: Final = (*_NEEDED, "front.json", "args.yaml", "report.html")


def review_of(folder: RunFolder) -> ReviewCopy:
    """Returns the review copy in a run's folder, and builds it first unless it is of what the run holds now.

    Raises:
        FolderError: when the run holds no finished search.
        DashboardMissingError: when the dashboard is not installed.
        ReviewError: when the run's files contradict each other.
    """
    is_front = folder["front.json"].is_file()
    needed = _NEEDED_OF_A_FRONT if is_front else _NEEDED
    if not all(folder[name].is_file() for name in needed):
        raise contents_of(folder.path).lacking("finished search", *needed)
    check_installed()
    copy, built_from = ReviewCopy(folder["review"]), _digests(folder)
    if copy.is_of(built_from):
        log.info("the copy %s is as the run is now; delete it to have it afresh", copy.folder)
        return copy
    found = json.loads(folder["front.json" if is_front else "search.json"].read_text(encoding="utf-8"))
    profile = load_profile(folder["profile.json"])
    if is_front:
        plans = _reviewed(found, profile, found["front"], None, folder["report.html"])
    else:
        winner = Plan.from_json(folder["plan.json"].read_text(encoding="utf-8"))
        plans = reviewed_plans(found, winner, profile, folder["report.html"])
    return build_review(
        plans,
        _choices(profile, found),
        folder=copy.folder,
        title=f"{profile.model} on {profile.setting.device}: a copy for review",
        searched=_searched(folder, profile, found),
        built_from=built_from,
        directions=("maximize", "minimize") if is_front else ("maximize",),
    )


def reviewed_plans(found: Mapping[str, Any], winner: Plan, profile: Profile, report: Path) -> list[ReviewedPlan]:
    """Returns every evaluated plan of a search, with its measurement if it was measured.

    Args:
        found: The content of `search.json`.
        winner: The plan that the search chose.
        profile: The latency table.
        report: The run's report, which the winner links to.

    Raises:
        ReviewError: when `winner` is none of the plans.
    """
    plans = _reviewed(found, profile, found["finalists"], winner, report)
    if not any(one.is_winner for one in plans):
        raise ReviewError("plan.json is none of the plans that search.json says were evaluated")
    return plans


def _reviewed(
    found: Mapping[str, Any],
    profile: Profile,
    measured_ones: Sequence[Mapping[str, Any]],
    winner: Plan | None,
    report: Path,
) -> list[ReviewedPlan]:
    finalists = {Plan(profile.model, finalist["choices"]): finalist for finalist in measured_ones}
    plans = []
    for index, entry in enumerate(found["evaluated"]):
        plan = Plan(profile.model, entry["choices"])
        finalist = finalists.get(plan, {})
        figures = dict(finalist.get("measured") or {})
        ratio = figures.pop("ratio", finalist.get("ratio"))
        measured = figures or None
        names = ("accuracy", "cross_entropy", "agreement", "distance", "images", "how")
        plans.append(
            ReviewedPlan(
                number=entry.get("number", index),
                plan=plan,
                score=entry["score"],
                latency_ms=entry["latency_ms"],
                budget_ms=found["budget_ms"],
                feasible=entry.get("feasible", entry["latency_ms"] <= found["budget_ms"]),
                measured=None if measured is None else Measurement.of_record(measured),
                ratio=ratio,
                fits=finalist.get("fits"),
                is_winner=plan == winner,
                details=Details(**{name: entry.get(name) for name in names}),
                picture_svg=block_map(profile.blocks, plan.choices),
                report=report if plan == winner and report.is_file() else None,
            )
        )
    return plans


def _choices(profile: Profile, found: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Block -> its choices: those that the table has a row for, and those that were evaluated."""
    tried = [entry["choices"] for entry in found["evaluated"]]
    choices = {}
    for name in profile.blocks:
        priced = [unthinned(row.choice) for row in profile.rows if row.signature == profile.signatures[name]]
        seen = [plan.get(name, KEEP) for plan in tried]
        choices[name] = tuple(dict.fromkeys((KEEP, *priced, *sorted(seen))))
    return choices


def _searched(folder: RunFolder, profile: Profile, found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what, text) for the note about the whole search."""
    setting, budget = profile.setting, f"{found['budget_ms']:.3f} ms"
    asked = RunConfig.load(folder["args.yaml"]) if folder["args.yaml"].is_file() else None
    if asked is not None and asked.measure.budget_ratio is not None:
        budget += f", {asked.measure.budget_ratio:g} of the baseline"
    rows = [
        ("network", profile.model),
        ("device", f"{setting.device}: {setting.hardware}, {setting.runtime}"),
        ("mode", f"{setting.dtype}, batch {setting.batch_size}, threads {setting.threads}"),
        ("baseline", f"{profile.baseline_ms:.3f} ms, {profile.origin}"),
        ("budget", budget),
        ("blocks", f"{len(profile.blocks)}"),
    ]
    if asked is not None:
        rows.append(("data", asked.data.data_dir or asked.data.dataset))
        rows.append(("seed", str(asked.seed)))
    return [*rows, ("run", str(folder.path))]


def _digests(folder: RunFolder) -> str:
    """A line with the digest of each source file that is there; it tells which content a copy was built from."""
    digests = (
        f"{name} {hashlib.sha256(folder[name].read_bytes()).hexdigest()}" for name in _SOURCES if folder[name].is_file()
    )
    return "\n".join(digests)
