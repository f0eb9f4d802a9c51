"""Searches for a device that is not here: which table they go by, and that it is said."""

import dataclasses
import json
import shlex
from pathlib import Path

import pytest
from torch import nn

from commands import Command
from depthfinder.config.declared import made
from depthfinder.config.run import RunConfig
from depthfinder.pipeline.offer import Offer
from depthfinder.pipeline.tables import FoundTable, tables_without_devices
from depthfinder.pipeline.target import targets_of
from depthfinder.pipeline.uncut import Uncut
from latency.errors import DeviceMissingError, UnsupportedModeError
from latency.mode import Mode
from latency.modelled import modelled_profile
from profiles.errors import ProfileError
from profiles.profile import Profile
from profiles.store import load_profile, profile_path, shipped_profiles
from profiles.writing import save_profile
from pruner.models.load import load_model
from pruner.network.surgery import describe
from pruner.progress import silent


def asked(device: str, **changes: object) -> RunConfig:
    return made(RunConfig, {"model": "test_vit", "device": device, "budget_ms": "3", **changes})


def found(arguments: RunConfig, root: Path, model: nn.Module) -> FoundTable:
    targets = targets_of(arguments.measure, root)
    offer, uncut = Offer(arguments.search, describe(model), ()), Uncut("test_vit", model, None, {})
    return tables_without_devices(targets, root, uncut, offer, arguments.seed, silent)[arguments.measure.device]


def alike(one: Profile, other: Profile) -> bool:
    """Whether they are the same but for when they were made."""
    return dataclasses.replace(one, seconds=0.0, created="") == dataclasses.replace(other, seconds=0.0, created="")


def test_a_table_in_the_output_goes_before_one_that_ships_and_that_before_a_model(tmp_path: Path) -> None:
    deit = load_model("deit_tiny_patch16_224")
    shipped = found(asked("mi100"), tmp_path, deit)
    assert shipped.path in [path for path, _ in shipped_profiles()]
    assert shipped.profile.setting.device == "mi100"
    assert shipped.profile.model == "deit_tiny_patch16_224"
    assert "the modelled table " in shipped.text

    small = load_model("test_vit")
    modelled = found(asked("mi100"), tmp_path, small)
    assert modelled.path is None
    assert modelled.text == "a modelled table, made now"
    assert alike(
        modelled.profile, modelled_profile(small, "mi100", Mode(), extra_choices=asked("mi100").search.extra_choices)
    )

    for table, origin in ((modelled.profile, "modelled"), (shipped.profile, "imported")):
        path = profile_path(tmp_path, table.model, table.setting)
        rows = tuple(dataclasses.replace(row, origin=origin) for row in table.rows)
        save_profile(dataclasses.replace(table, origin=origin, rows=rows), path)  # type: ignore[arg-type]
        mine = found(asked("mi100"), tmp_path, deit if table is shipped.profile else small)
        assert (mine.path, mine.profile.origin) == (path, origin)
        assert mine.text == f"the {origin} table {path} of {table.created}"


def test_a_table_of_another_mode_or_device_is_not_taken(tmp_path: Path) -> None:
    deit = load_model("deit_tiny_patch16_224")
    for arguments in (asked("mi100", batch_size=8), asked("mi100", dtype="bf16"), asked("mi210")):
        table = found(arguments, tmp_path, deit)
        assert table.path is None
        setting = table.profile.setting
        measure = arguments.measure
        wanted = (measure.device, measure.batch_size, measure.mode.dtype)
        assert (setting.device, setting.batch_size, setting.dtype) == wanted


def test_what_cannot_be_had_is_refused(tmp_path: Path) -> None:
    small = load_model("test_vit")
    with pytest.raises(DeviceMissingError, match=r"ort-migraphx is not here: .* Ways on:\n"):
        found(asked("ort-migraphx"), tmp_path, small)
    with pytest.raises(UnsupportedModeError, match="ort-migraphx runs fp32, not fp16"):
        found(asked("ort-migraphx", dtype="fp16"), tmp_path, small)
    with pytest.raises(ProfileError, match="take --dtype fp32 or fp16"):
        found(asked("t4", dtype="bf16"), tmp_path, small)
    with pytest.raises(ProfileError, match="cannot be modelled channels-last"):
        found(asked("mi100", channels_last=True), tmp_path, small)


def test_a_front_for_a_device_that_was_never_profiled_goes_by_what_profile_would_model(
    depthfinder: Command, tmp_path: Path
) -> None:
    network = "--model deit_tiny_patch16_224 --img-size 32 --device mi100"
    kwargs = "patch_size=16 embed_dim=12 depth=2 num_heads=2 num_classes=10"
    network += "".join(f" --model-kwargs {pair}" for pair in kwargs.split())
    words = "--dataset digits --n-trials 3 --supernet-epochs 1 --fit-images 40 --experiment here"
    done = depthfinder(*shlex.split(f"pareto {network} {words}"))
    assert done.returncode == 0, done.stderr
    assert "mi100 is not here: going by a modelled table, made now; nothing is measured on it" in done.stderr
    assert "table: depthfinder-out/here/profile.json: Modelled " in done.stdout
    assert "the predictor 'operators 3' of AMD Instinct MI100" in done.stdout
    record = json.loads(Path("depthfinder-out/here/front.json").read_text())
    assert record["table"].startswith("Modelled ")
    assert all(plan["measured"] is None for plan in record["front"])

    assert depthfinder(*shlex.split(f"profile {network} --modelled --output other")).returncode == 0
    (theirs,) = Path("other").rglob("*.json")
    ours = Path("depthfinder-out") / theirs.relative_to("other")
    assert alike(load_profile(ours), load_profile(theirs))
