"""README's own flow: a profile of the network as it comes, then a search over images of other classes."""

import dataclasses
import json
import shlex
from pathlib import Path

import pytest

from commands import Command
from folders import folder_of
from profiles.profile import Choices
from profiles.store import load_profile
from profiles.writing import save_profile
from pruner.models.load import load_model
from pruner.network.surgery import describe

KWARGS = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
SMALL = "--model deit_tiny_patch16_224 --img-size 16 " + " ".join(f"--model-kwargs {k}={v}" for k, v in KWARGS.items())
QUICK = "--budget-ratio 0.8 --n-trials 2 --supernet-epochs 1 --train-batch-size 8 --experiment here --data-dir images"
TABLES = Path("depthfinder-out/profiles")


def typed(depthfinder: Command, words: str) -> str:
    done = depthfinder(*shlex.split(words))
    assert done.returncode == 0, done.stderr
    return done.stderr


def fingerprint(classes: int) -> str:
    return describe(load_model("deit_tiny_patch16_224", img_size=16, num_classes=classes, **KWARGS)).fingerprint


@pytest.fixture
def profiled(depthfinder: Command, tmp_path: Path) -> Path:
    """The table of a thousand classes, and images of two."""
    folder_of(tmp_path / "images")
    typed(depthfinder, f"profile {SMALL} --device null --max-seconds 0.1")
    (path,) = TABLES.rglob("*.json")
    return path


def test_a_search_measures_the_head_of_its_classes_and_keeps_the_rest(depthfinder: Command, profiled: Path) -> None:
    before = profiled.read_text()
    said = typed(depthfinder, f"search {QUICK}")
    assert f"{profiled} is of this network with another head: that was measured again" in " ".join(said.split())
    assert profiled.read_text() == before, "it is still the table of a thousand classes"
    (beside,) = set(TABLES.rglob("*.json")) - {profiled}
    assert beside.name == f"deit_tiny_patch16_224-b1-t1-{fingerprint(2)}.json"
    table, whole = load_profile(beside), load_profile(profiled)
    assert dict(table.model_kwargs) == {**KWARGS, "img_size": 16, "num_classes": 2}
    assert load_profile("depthfinder-out/here/profile.json") == table
    # On the device of exact arithmetic a parameter costs 2^-20 ms; a class has 24 weights and a bias.
    assert whole.latency_ms(Choices({})) - table.latency_ms(Choices({})) == 998 * 25 * 2.0**-20
    assert json.loads(Path("depthfinder-out/here/search.json").read_text())["budget_ms"] == 0.8 * table.baseline_ms

    again = typed(depthfinder, f"search {SMALL} --device null {QUICK.replace('here', 'there')}")
    assert f"continuing from the profile {beside}" in " ".join(again.split())

    # Images of three classes, with the table of two as the newest.
    folder_of(Path("three"), classes=("ant", "bee", "cat"))
    three = QUICK.replace("here", "third").replace("images", "three")
    assert "is of this network with another head" in " ".join(typed(depthfinder, f"search {three}").split())
    assert load_profile("depthfinder-out/third/profile.json").fingerprint == fingerprint(3)


def test_a_table_that_is_named_gets_its_head_too(depthfinder: Command, profiled: Path) -> None:
    said = typed(depthfinder, f"search {SMALL} --device null --profile {profiled} {QUICK}")
    assert "is of this network with another head: that was measured again" in " ".join(said.split())
    assert load_profile("depthfinder-out/here/profile.json").fingerprint == fingerprint(2)


def test_a_table_that_knows_the_blocks_alone_is_not_used_and_the_reason_is_said(
    depthfinder: Command, profiled: Path
) -> None:
    save_profile(dataclasses.replace(load_profile(profiled), fingerprint="16f5b0cfb9d71e2f"), profiled)
    named = depthfinder(*shlex.split(f"search {SMALL} --device null --profile {profiled} {QUICK}"))
    assert named.returncode == 1
    why = (
        "knows its network by the blocks alone, so its stem and head may be others: make it again: depthfinder profile"
    )
    assert why in " ".join(named.stderr.split())
    said = typed(depthfinder, f"search {SMALL} --device null --max-seconds 0.1 {QUICK.replace('here', 'there')}")
    assert why in " ".join(said.split())
    assert load_profile(profiled).fingerprint == fingerprint(2), "the new one takes its place"


def test_where_the_device_is_not_here_the_reason_is_said(depthfinder: Command, profiled: Path) -> None:
    table = load_profile(profiled)
    away = dataclasses.replace(table, setting=dataclasses.replace(table.setting, device="mi100"), origin="imported")
    save_profile(away, TABLES / "mi100" / "t.json")
    done = depthfinder(*shlex.split(f"search {SMALL} --device mi100 {QUICK}"))
    assert done.returncode == 0, "a modelled table is gone by in its place"
    said = " ".join(done.stderr.split())
    assert "mi100/t.json is of this network with another head; make it again: depthfinder profile --model" in said
    assert "mi100 is not here: going by a modelled table, made now; nothing is measured on it" in said
