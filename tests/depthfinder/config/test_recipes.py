"""Every recipe is taken by the command line as it stands, and by what its training is made of."""

from pathlib import Path

import pytest
import typer
import yaml
from torch import nn
from typer.testing import CliRunner

from depthfinder.cli.app import _SPELLING
from depthfinder.cli.flags import Typed, takes
from depthfinder.cli.requests import RunRequest
from depthfinder.config.declared import flat
from depthfinder.config.resolved import run_config_with_budget, with_file
from depthfinder.config.run import RunConfig
from pruner.models.load import load_model
from pruner.network.surgery import describe
from pruner.training.optimizing import make_mixup, make_optimizer, make_scheduler
from pruner.training.schedules import CURVES

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml"))
IMAGENET = [recipe for recipe in RECIPES if recipe.name.startswith("imagenet_")]


def typed(*words: str) -> RunConfig:
    """What `depthfinder run` with these words would go by; nothing is run."""
    found: list[Typed] = []
    command = typer.Typer(context_settings=_SPELLING)
    command.command()(takes(RunConfig, RunRequest)(found.append))
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    (told,) = found
    meant = with_file(told, told.get("config"), RunRequest)
    return run_config_with_budget(meant, without_training=told.get("without_training", False))


def arguments_of(recipe: Path) -> RunConfig:
    budget = [] if "budget_ratio" in yaml.safe_load(recipe.read_text()) else ["--budget-ms", "25"]
    return typed("--config", str(recipe), *budget, "--data-dir", "images")


def test_there_are_recipes() -> None:
    assert len(IMAGENET) == 4
    assert {"cifar10.yaml", "demo.yaml"} < {recipe.name for recipe in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_is_what_the_command_goes_by(recipe: Path) -> None:
    asked, values = arguments_of(recipe), yaml.safe_load(recipe.read_text())
    assert {name: flat(asked)[name] for name in values} == values


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_timm_makes_what_a_recipe_trains_with(recipe: Path) -> None:
    asked = arguments_of(recipe)
    settings = asked.train.settings(asked.train.progressive_epochs, asked.seed)
    optimizer = make_optimizer(nn.Linear(2, 2), settings.optimizing)
    scheduler = make_scheduler(optimizer, settings.optimizing, settings.epochs, per_epoch=10)
    scheduler.step_update(settings.epochs * 10 - 1)
    assert optimizer.param_groups[0]["lr"] < 0.01 * settings.optimizing.lr + settings.optimizing.min_lr
    assert (make_mixup(settings.mixing, 10) is None) == (not settings.mixing.is_on)
    assert asked.train.lambda_schedule in CURVES
    assert settings.batch_size % settings.optimizing.grad_accum_steps == 0


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipes_network_can_be_cut(recipe: Path) -> None:
    asked = arguments_of(recipe)
    chain = describe(load_model(asked.network.model, **asked.network.kwargs))
    assert any(len(block.choices) > 1 for block in chain.blocks)


def test_the_demos_recipe_is_the_demo() -> None:
    recipe = next(path for path in RECIPES if path.name == "demo.yaml")
    assert typed("--config", str(recipe)) == typed()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_says_how_to_type_it_and_what_it_is(recipe: Path) -> None:
    text = recipe.read_text()
    assert text.startswith("#")
    assert f"depthfinder run --config recipes/{recipe.name}" in text
    assert ("Not run here" in text) == (recipe.name != "demo.yaml")
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize(
    ("words", "scored_by"),
    [
        ("", "fits"),
        ("--supernet-epochs 2", "supernet"),
        ("--supernet-plans 2", "supernet"),
        ("--freeze-backbone", "supernet"),
        ("--strategy gate", "supernet"),
        ("--strategy dimap", "supernet"),
        ("--strategy scores", "fits"),
        ("--scored-by fits --supernet-epochs 4", "fits"),
        ("--scored-by supernet", "supernet"),
        ("--without-training", "fits"),
    ],
)
def test_a_supernet_scores_plans_where_something_is_asked_of_one(words: str, scored_by: str) -> None:
    assert typed(*words.split()).search.scored_by == scored_by
