"""Every page, picture and terminal table of every kind of latency table: measured, read in, modelled, predicted."""

import dataclasses
import io
import json
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from commands import Command
from depthfinder.folder.result import NetworkResult, RunResult
from depthfinder.folder.run_folder import RunFolder
from depthfinder.folder.table_origin import origin_of
from depthfinder.report.page import write_report
from depthfinder.report.profile_pictures import judgement, where_the_time_goes
from depthfinder.report.review import review_of
from depthfinder.report.tables import difference_table, finalists_table, profile_table, profiles_table, result_table
from latency.active import active_profile
from latency.devices.null import Null
from latency.mode import Mode
from latency.modelled import anchored, modelled_profile, predicted_profile, timed_pieces
from latency.profiler import profile
from networks import made
from profiles.difference import difference
from profiles.measurement import Ratio
from profiles.profile import Profile
from profiles.store import load_profile, verified
from profiles.writing import to_csv
from pruner.choices.plan import Plan
from reviews import measured
from search.errors import DashboardMissingError
from search.verification.budget import Budget, Verdict
from search.verification.verdict import verdict_by_table

KINDS = ("measured", "imported", "imported from a GPU", "modelled", "predicted", "in part predicted")


@pytest.fixture(scope="module")
def tables() -> dict[str, Profile]:
    """One table of each kind, all of one network."""
    model = made("digits", 0)
    here = profile(model, Null(), max_seconds=0.1)
    pieces = [
        piece
        for batch in (2, 4)
        for piece in timed_pieces(profile(model, Null(), batch_size=batch, max_seconds=0.1), model)
    ]
    rows = tuple(dataclasses.replace(row, origin="imported") for row in here.rows)
    imported = dataclasses.replace(here, rows=rows, origin="imported")
    assert here.conditions is not None
    on_gpu = dataclasses.replace(here.conditions, cpu_share=None)
    return {
        "measured": here,
        "imported": imported,
        "imported from a GPU": dataclasses.replace(imported, conditions=on_gpu),
        "modelled": modelled_profile(model, "mi100", Mode()),
        "predicted": anchored(predicted_profile(model, here.setting, pieces), measured(here.baseline_ms)),
        "in part predicted": active_profile(model, Null(), pieces, 2, max_seconds=0.1),
    }


def shown(table: object) -> str:
    console = Console(file=io.StringIO(), width=300)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def finished(folder: Path, table: Profile, *, here: bool) -> RunFolder:
    """What a run by this table leaves, on a device that is `here` or not: one plan, which won."""
    plan = Plan(table.model, {table.blocks[0]: "drop"})
    base_ms, cut_ms = table.latency_ms(Plan(table.model)), table.latency_ms(plan)
    networks = {
        name: NetworkResult(0.9, measured(ms) if here else None, ms, (0.9 * ms, 1.1 * ms), 1000, {"keep": 8})
        for name, ms in (("baseline", base_ms), ("pruned", cut_ms))
    }
    budget = Budget(1.01 * cut_ms)
    device = table.setting.device
    verdict = Verdict("met", "it was measured") if here else verdict_by_table(budget, cut_ms, device)
    result = RunResult(
        model=table.model,
        setting=table.setting,
        budget_ms=budget.latency_ms,
        budget_ratio=None,
        verdict=verdict,
        measured_ratio=Ratio(cut_ms / base_ms, 0.99 * cut_ms / base_ms, 1.01 * cut_ms / base_ms) if here else None,
        processor_ratio=None,
        slowdown=1.02 if here else None,
        baseline=networks["baseline"],
        pruned=networks["pruned"],
        accuracy_without_training=0.5,
        parity={"same_top1": 9, "images": 10, "largest_difference": 1e-6},
        plan=dict(plan.choices),
        num_evaluations=1,
        seconds={"profile": 1.0},
        table=origin_of(table),
    )
    one = {"number": 0, "choices": dict(plan.choices), "score": 0.8, "latency_ms": cut_ms, "feasible": True}
    took = measured(cut_ms).record() if here else None
    finalist = {"choices": one["choices"], "score": 0.8, "predicted_ms": cut_ms, "measured": took}
    finalist |= {"ratio": cut_ms / base_ms, "fits": True if here else None, "elsewhere": []}
    finalist |= dataclasses.asdict(verdict)
    other = one | {"number": 1, "choices": {table.blocks[1]: "drop"}, "score": 0.85, "reason": "it was too slow"}
    record = {"budget_ms": result.budget_ms, "evaluated": [one], "finalists": [finalist], "passed_over": [other]}
    folder.mkdir()
    table.save(folder / "profile.json")
    result.save(folder / "result.json")
    (folder / "search.json").write_text(json.dumps(record))
    (folder / "plan.json").write_text(plan.to_json())
    (folder / "state.json").write_text(json.dumps({"profile": {"seconds": 1.0, "done": True}}))
    return RunFolder(folder)


@pytest.mark.parametrize("here", [True, False], ids=["here", "not here"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_by_any_table_has_its_report(tables: dict[str, Profile], kind: str, here: bool, tmp_path: Path) -> None:
    table = tables[kind]
    folder = finished(tmp_path / "run", table, here=here)
    write_report(folder)
    page = re.sub(r"\s+", " ", folder["report.html"].read_text())
    assert "None" not in page
    assert "nan" not in page.lower().split()
    words = {"modelled": "Modelled", "predicted": "Predicted", "in part predicted": "Predicted"}
    assert f"{words.get(kind, 'Measured')} {'elsewhere' if 'imported' in kind else table.created}" in page
    assert ("Nothing was measured" in page) is not here
    assert ("took 1.020 of what it took when the table was made" in page) is here
    assert "it was too slow" in page
    assert ("baseline, measured" in page) is here
    rows = page.partition("The latency table")[2].partition("How it was made")[0]
    assert rows.count("<tr><td>") == len(table.rows)
    assert rows.count("<td>modelled</td>") == sum(row.alone is None for row in table.rows)

    result = RunResult.load(folder["result.json"])
    printed = shown(result_table(result))
    assert "NOT met" not in printed
    assert ("UNDECIDED" in printed) is not here
    assert ("by the table is within the budget" in printed) is not here
    share = table.latency_ms(Plan(table.model, result.plan)) / table.latency_ms(Plan(table.model))
    assert f"{share:.3f}" in printed
    candidates = shown(finalists_table(json.loads(folder["search.json"].read_text())))
    assert ("by the table, not measured" in candidates) is not here


@pytest.mark.parametrize("here", [True, False], ids=["here", "not here"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_search_by_any_table_can_be_looked_at(
    tables: dict[str, Profile], kind: str, here: bool, tmp_path: Path
) -> None:
    folder = finished(tmp_path / "run", tables[kind], here=here)
    try:
        copy = review_of(folder)
    except DashboardMissingError as error:
        pytest.skip(str(error))
    notes = copy.study_log.read_text()
    assert tables[kind].origin in notes
    assert ("fits by the table" in notes) is not here


@pytest.mark.parametrize("kind", KINDS)
def test_any_table_is_shown_listed_drawn_and_compared(tables: dict[str, Profile], kind: str, tmp_path: Path) -> None:
    table = tables[kind]
    printed = shown(profile_table(table))
    assert table.origin in printed
    assert printed.count("modelled") >= sum(row.alone is None for row in table.rows)
    assert table.origin in shown(profiles_table([(tmp_path / "p.json", table)]))
    assert where_the_time_goes(table).startswith("<svg")
    if table.anchors:
        assert judgement(table).startswith("<svg")
    assert len(to_csv(table).splitlines()) == 1 + len(table.rows)
    table.save(tmp_path / "p.json")
    assert load_profile(tmp_path / "p.json") == table
    assert table.origin in verified(tmp_path / "p.json")
    for other in tables.values():
        found = difference(table, other)
        assert found.whole == pytest.approx(other.baseline_ms / table.baseline_ms)
        assert (found.machine is None) is (table.conditions is None or other.conditions is None)
        assert found.model in shown(difference_table(found))


def test_names_that_are_read_do_not_format_the_terminal(tables: dict[str, Profile], tmp_path: Path) -> None:
    name = "[red]net[/red]"
    table = dataclasses.replace(tables["modelled"], model=name)
    for printed in (shown(profile_table(table)), shown(profiles_table([(tmp_path / "p.json", table)]))):
        assert name in printed


def test_a_measurement_that_is_not_there_survives_the_disk(tables: dict[str, Profile], tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", tables["modelled"], here=False)
    record = json.loads(folder["result.json"].read_text())
    assert record["baseline"]["latency"] is None
    assert record["measured_ratio"] is None
    again = RunResult.load(folder["result.json"])
    again.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == record


def test_a_run_by_a_table_predicted_from_other_sizes_ends_with_a_report(depthfinder: Command) -> None:
    network = "--model deit_tiny_patch16_224 --img-size 32 --device null --max-seconds 1"
    kwargs = "patch_size=16 embed_dim=12 depth=3 num_heads=2 num_classes=10"
    network += "".join(f" --model-kwargs {pair}" for pair in kwargs.split())
    for batch in (2, 4):
        done = depthfinder(*shlex.split(f"profile {network} --batch-size {batch}"))
        assert done.returncode == 0, done.stderr
    words = (
        "--dataset digits --budget-ratio 0.8 --n-trials 4 --supernet-epochs 1 --fit-images 40 --progressive-epochs 1"
    )
    done = depthfinder(*shlex.split(f"run {network} {words} --experiment here"))
    assert done.returncode == 0, done.stderr
    assert "not measured at this size: predicted from 2 tables of others" in done.stderr
    folder = RunFolder(Path("depthfinder-out/here"))
    assert load_profile(folder["profile.json"]).is_predicted
    result = RunResult.load(folder["result.json"])
    assert result.measured_ratio is not None
    assert result.table.startswith("Predicted ")
    assert "Predicted " in folder["report.html"].read_text()
    assert folder.is_done("report")
    assert depthfinder("report", str(folder.path)).returncode == 0
