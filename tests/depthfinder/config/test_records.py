"""The records of settings: each setting stands in one of them, with its help, and is checked wherever it is from."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from depthfinder.cli.flags import Typed, takes
from depthfinder.cli.requests import MeasureRequest, ProfileRequest, RunRequest
from depthfinder.config.declared import declared_in, flat, made, with_changes
from depthfinder.config.files import checked
from depthfinder.config.resolved import run_config, sparsify_config, with_file
from depthfinder.config.run import RunConfig, SparsifyConfig
from pruner.errors import SettingsError
from pruner.training.settings import Optimizing

ALL = (SparsifyConfig, RunRequest, ProfileRequest, MeasureRequest)


def typed(words: str, *records: type) -> dict[str, Any]:
    """What a command with the flags of these records is told."""
    found: list[Typed] = []
    command = typer.Typer()
    command.command()(takes(*records or (RunConfig,))(found.append))
    done = CliRunner().invoke(command, words.split())
    assert done.exit_code == 0, done.output
    return dict(found[0])


def test_every_setting_is_declared_once() -> None:
    counted = Counter(one.name for one in declared_in(SparsifyConfig))
    assert [name for name, times in counted.items() if times > 1] == []
    assert len(counted) > 80


def test_every_setting_says_what_it_is() -> None:
    for one in declared_in(*ALL):
        assert one.option.help.endswith(("...", "."))
        assert one.option.help[0].isupper() or one.option.help.startswith(("digits", "timm"))


def test_taken_apart_and_put_together_a_record_is_the_same() -> None:
    config = with_changes(RunConfig(), lr=1e-3, scale=(0.5, 1.0), threads=2, model_kwargs={"depth": 2}, img_size=64)
    assert made(RunConfig, flat(config)) == config
    assert config.train.optimizing.lr == 1e-3
    assert config.measure.mode.threads == 2
    with pytest.raises(AttributeError, match="RunConfig has no setting learning_rate"):
        with_changes(config, learning_rate=1.0)


def test_what_is_not_typed_is_not_told() -> None:
    assert typed("") == {}
    assert typed("--lr 0.0005 --keep a --keep b --no-amp") == {"lr": 0.0005, "keep": ["a", "b"], "amp": False}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 0}, "--lr: 0 is not a positive number"),
        ({"lr": float("nan")}, "--lr: nan is not a finite number"),
        ({"hflip": 1.5}, "--hflip: 1.5: input should be less than or equal to 1"),
        ({"scale": (1.0, 0.5)}, "--scale: 1.0 is above 0.5: the smaller one comes first"),
        ({"threads": 0}, "--threads: 0: input should be greater than or equal to 1"),
        ({"widths": "60"}, "--widths: 60: there are 75, 50, 25, and none for none of them"),
        ({"strategy": "optna"}, "--strategy: no strategy is called 'optna'; nearest: optuna, "),
        ({"train_device": "gpu"}, "--train-device: gpu: there are cpu, cuda, and one of several GPUs, cuda:1"),
        ({"budget_ms": "3", "budget_ratio": 0.5}, "give --budget-ms or --budget-ratio, not both"),
        ({"budget_ms": "fast"}, "'fast' is not a positive number of milliseconds"),
        ({"n_trials": "many"}, "--n-trials: 'many': input should be a valid integer"),
    ],
)
def test_a_wrong_value_is_refused_wherever_it_is_from(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        checked(RunConfig, values)
    assert message in str(refused.value)
    with pytest.raises(ValidationError):
        made(RunConfig, values)
    (tmp_path / "args.yaml").write_text(yaml.safe_dump({n: list(v) if n == "scale" else v for n, v in values.items()}))
    with pytest.raises(SettingsError, match=r"args\.yaml: "):
        RunConfig.load(tmp_path / "args.yaml")


def test_records_of_the_library_check_themselves_too() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Optimizing(lr=-1.0)
    with pytest.raises(ValidationError, match="greater than 0"):
        dataclasses.replace(Optimizing(), lr=0.0)


def test_a_file_says_what_flags_say_and_flags_have_the_last_word(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("amp: true\nlr: 0.1\nimg_size: 64\nexperiment: mine\nkeep: [blocks.0]\ntimeout: null\n")
    found = with_file(typed("--no-amp --n-trials 3"), recipe, RunRequest)
    assert found == {
        "amp": False,
        "lr": 0.1,
        "img_size": 64,
        "experiment": "mine",
        "keep": ["blocks.0"],
        "n_trials": 3,
    }
    config = run_config(found)
    assert (config.train.amp, config.train.optimizing.lr, config.search.keep) == (False, 0.1, ("blocks.0",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 0.1", "names options that this command has not: learning_rate"),
        ("n_trial: 3", r"n_trial \(nearest: n_trials\)"),
        ("budget-ratio: 0.5", r"budget-ratio \(nearest: budget_ratio\)"),
        ("a: [", "cannot be read"),
        ("- lr", "holds no table of options"),
        ("", "holds no table of options"),
    ],
)
def test_a_file_that_names_what_is_no_setting_is_refused_and_the_nearest_named(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(SettingsError, match=message):
        with_file({}, tmp_path / "recipe.yaml")


def test_what_a_run_was_asked_for_can_be_typed_again(tmp_path: Path) -> None:
    config = run_config(typed("--torchcompile --scale 0.5 1 --model resnet18.a1_in1k --img-size 64x32 --data-dir x"))
    config.save(tmp_path / "args.yaml")
    assert RunConfig.load(tmp_path / "args.yaml") == config
    assert run_config(with_file({}, tmp_path / "args.yaml")) == config
    said = yaml.safe_load((tmp_path / "args.yaml").read_text())
    assert (said["torchcompile"], said["img_size"], said["model"]) == (True, [64, 32], "resnet18.a1_in1k")


def test_no_settings_hold_the_password_of_a_storage(tmp_path: Path) -> None:
    config = with_changes(RunConfig(), storage="postgresql://me:secret@host/studies")
    config.save(tmp_path / "args.yaml")
    assert "secret" not in f"{config} {(tmp_path / 'args.yaml').read_text()}"
    assert "me:***@host" in str(config.search.storage)
    assert RunConfig.load(tmp_path / "args.yaml") == config


def test_a_file_of_before_is_understood(tmp_path: Path) -> None:
    (tmp_path / "args.yaml").write_text("compiled: true\nmodel_kwargs: {img_size: 32, depth: 2}\n")
    config = RunConfig.load(tmp_path / "args.yaml")
    assert config.measure.mode.compiled
    assert config.network.kwargs == {"img_size": 32, "depth": 2}
    assert config.search.scored_by == "supernet"


def test_the_demo_is_meant_where_nothing_is_named() -> None:
    demo, other = run_config({}), run_config({"model": "resnet18"})
    assert (demo.network.model, demo.network.pretrained, demo.data.dataset) == ("deit_digits", True, "digits")
    assert (other.network.pretrained, other.data.dataset) == (False, "folder")
    assert not run_config({"pretrained": False}).network.pretrained
    assert not run_config({"checkpoint": "w.safetensors"}).network.pretrained


@pytest.mark.parametrize(("given", "sparsity"), [({}, 0.5), ({"granularity": "2:4"}, None), ({"sparsity": 0.3}, 0.3)])
def test_half_goes_unless_the_granularity_says_how_much(given: dict[str, Any], sparsity: float | None) -> None:
    config = sparsify_config(given)
    assert config.masks.sparsity == sparsity
    assert config.search.widths == "none"


def test_a_command_with_many_flags_shows_three_at_first() -> None:
    command = typer.Typer()
    command.command()(takes(RunConfig, RunRequest)(lambda typed: None))
    short, whole = (
        CliRunner().invoke(command, [flag], env={"COLUMNS": "3000"}).output for flag in ("--help", "--help-all")
    )
    flags = {f"--{one.name.replace('_', '-')}" for one in declared_in(RunConfig, RunRequest)}
    assert {flag for flag in flags if f"│ {flag} " in short} == {"--model", "--data-dir", "--budget-ms"}
    assert {flag for flag in flags if flag in whole} == flags
    assert "--no-amp" in whole
