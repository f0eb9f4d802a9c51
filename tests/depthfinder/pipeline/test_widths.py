"""Narrower blocks are offered without being named, in the widths that were asked for and the table has rows for."""

import json
import shlex
from pathlib import Path

import pytest

from commands import Command
from pruner.choices.choice import SHARES

NETWORK = (
    "--model deit_tiny_patch16_224 --img-size 32 --model-kwargs patch_size=16 --model-kwargs embed_dim=16 "
    "--model-kwargs depth=3 --model-kwargs num_heads=2 --model-kwargs num_classes=10 --device null --max-seconds 1"
)
SEARCH = (
    f"search {NETWORK} --dataset digits --supernet-epochs 1 --fit-images 40 --n-trials 24 --budget-ratio 0.7 "
    "--experiment here"
)
HERE = Path("depthfinder-out/here")


def tried(depthfinder: Command, words: str) -> tuple[set[str], str]:
    """The choices that the plans of a search had, and what it said."""
    done = depthfinder(*shlex.split(f"{SEARCH} {words}"))
    assert done.returncode == 0, done.stderr
    evaluated = json.loads((HERE / "search.json").read_text())["evaluated"]
    return {choice for plan in evaluated for choice in plan["choices"].values()}, done.stderr


def test_all_of_them_are_offered(depthfinder: Command) -> None:
    assert tried(depthfinder, "")[0] == {*SHARES, "merge", "drop"}


def test_those_that_were_asked_for_are(depthfinder: Command) -> None:
    assert tried(depthfinder, "--widths 50")[0] == {"narrow-50", "merge", "drop"}


def test_a_table_without_rows_for_them_is_gone_by_and_that_is_said(depthfinder: Command) -> None:
    assert depthfinder(*shlex.split(f"profile {NETWORK} --widths none")).returncode == 0
    choices, said = tried(depthfinder, "")
    assert choices == {"merge", "drop"}
    assert "no rows for narrow-25, narrow-50, narrow-75, which are not offered; `depthfinder profile` again" in said
    assert "no block is measured again" in said


def test_what_was_named_is_measured_where_a_table_has_no_rows_for_it(depthfinder: Command) -> None:
    assert depthfinder(*shlex.split(f"profile {NETWORK} --widths none")).returncode == 0
    choices, said = tried(depthfinder, "--choices narrow-50,drop")
    assert choices == {"narrow-50", "drop"}
    assert "continuing from" not in said


def test_a_table_that_was_named_has_to_have_what_else_was(depthfinder: Command) -> None:
    assert depthfinder(*shlex.split(f"profile {NETWORK} --widths none")).returncode == 0
    (table,) = Path("depthfinder-out/profiles").rglob("*.json")
    done = depthfinder(*shlex.split(f"{SEARCH} --profile {table} --choices narrow-50,drop"))
    assert done.returncode != 0
    assert f"{table} has no rows for narrow-50: profile again" in done.stderr


@pytest.mark.parametrize("command", ["profile", "search", "run", "pareto"])
def test_a_width_that_there_is_not_is_refused_at_once(depthfinder: Command, command: str) -> None:
    done = depthfinder(command, "--widths", "75,60")
    assert done.returncode == 2
    assert "--widths: 60: there are 75, 50, 25, and none for none of them" in done.stderr
