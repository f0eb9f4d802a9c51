"""Completes the settings that were typed: the demo where nothing is named, the device, and what scores plans."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from depthfinder.config.declared import declared_in
from depthfinder.config.files import checked, read_table
from depthfinder.config.measure import DEFAULT_DEVICE
from depthfinder.config.model import DEMO_MODEL, ModelConfig
from depthfinder.config.run import RunConfig, SparsifyConfig
from depthfinder.config.search import SearchConfig
from depthfinder.config.words import budgets_of
from depthfinder.strategies import Strategy, known_strategy
from pruner.errors import SettingsError

DEMO_BUDGET_RATIO: Final = 0.6
_DIGITS: Final = "digits"
_DEFAULT_SPARSITY: Final = 0.5
_OF_A_SUPERNET: Final = ("supernet_epochs", "supernet_sampling", "supernet_plans", "freeze_backbone")
_NOTHING_TRAINED: Final = {"scored_by": "fits", "finetune_epochs": 0, "progressive_epochs": 0}


def with_file(typed: Mapping[str, Any], path: Path | None, *more: type) -> Mapping[str, Any]:
    """Returns the settings of a file, overridden by those that were typed.

    Args:
        typed: Setting -> value.
        path: An `args.yaml` or a recipe; None for none.
        more: Records whose settings the file may name beside those of a run.

    Raises:
        SettingsError: when there is no such file, or it names an unknown setting.
    """
    if path is None:
        return typed
    if not path.exists():
        raise SettingsError(f"--config {path}: there is no such file")
    names = (one.name for one in declared_in(RunConfig, *more))
    said = {name: value for name, value in read_table(path, names).items() if value is not None}
    return said | dict(typed)


def run_config(typed: Mapping[str, Any], *, without_training: bool = False) -> RunConfig:
    """Makes the settings of a run from those that were typed.

    Args:
        typed: Setting -> value.
        without_training: Whether to train nothing, even where training was asked for.

    Raises:
        SettingsError: for a value that is refused; the error names the flag.

    Example:
        >>> found = run_config({"budget_ms": "ort-cpu=20,mi100=3.2", "train_batch_size": 32})
        >>> found.network.model, found.data.dataset, found.measure.device, found.search.scored_by
        ('deit_digits', 'digits', 'ort-cpu', 'fits')
    """
    meant = dict(typed) | _images_and_weights(typed) | _device(typed)
    meant |= _NOTHING_TRAINED if without_training else {"scored_by": _way_of_scoring(typed)}
    return checked(RunConfig, meant)


def run_config_with_budget(typed: Mapping[str, Any], *, without_training: bool = False) -> RunConfig:
    """Makes the settings of a run that needs a budget. The demo has one by default.

    Raises:
        SettingsError: as `run_config` does, and where another network has no budget.
    """
    found = run_config(typed, without_training=without_training)
    if found.measure.has_budget:
        return found
    if found.network.model != DEMO_MODEL or found.data.data_dir is not None:
        raise SettingsError("give a budget: --budget-ms 25, or --budget-ratio 0.7")
    return run_config({**typed, "budget_ratio": DEMO_BUDGET_RATIO}, without_training=without_training)


def sparsify_config(typed: Mapping[str, Any]) -> SparsifyConfig:
    """Makes the settings of `sparsify` from those that were typed. Raises `SettingsError` as `run_config` does."""
    meant = dict(typed) | _images_and_weights(typed)
    if meant.get("sparsity") is None and ":" not in meant.get("granularity", ""):
        meant["sparsity"] = _DEFAULT_SPARSITY
    return checked(SparsifyConfig, {"widths": "none"} | meant)


def _images_and_weights(typed: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of images and weights. The demo's network has the demo's where none are named."""
    model = checked(ModelConfig, {"model": typed.get("model", DEMO_MODEL)}).model
    named = typed.get("dataset")
    is_demo = model == DEMO_MODEL and typed.get("data_dir") is None and named in (None, _DIGITS)
    weights = typed.get("pretrained", is_demo and typed.get("checkpoint") is None)
    return {"pretrained": weights, "dataset": named or (_DIGITS if is_demo else "folder")}


def _device(typed: Mapping[str, Any]) -> dict[str, str]:
    """The device that was named, else the first that has a budget."""
    device = typed.get("device") or DEFAULT_DEVICE
    if typed.get("budget_ms") is None:
        return {"device": device}
    try:
        budgets = budgets_of(str(typed["budget_ms"]), device)
    except ValueError as error:
        raise SettingsError(f"--budget-ms: {error}") from error
    if typed.get("device") is not None and device not in budgets:
        raise SettingsError(f"--device {device} has no budget among {', '.join(budgets)}")
    return {"device": device if device in budgets else next(iter(budgets)), "budget_ms": str(typed["budget_ms"])}


def _way_of_scoring(typed: Mapping[str, Any]) -> str:
    """The way that was asked for; else a supernet where the strategy or a typed setting takes one, else fits."""
    if typed.get("scored_by") is not None:
        return str(typed["scored_by"])
    by_default = _strategy(typed).scored_by[0]
    if by_default == "supernet":
        return by_default
    defaults = {one.name: one.default for one in declared_in(RunConfig)}
    # Whoever types --supernet-epochs asks for a supernet, even with the default of two epochs.
    is_asked = "supernet_epochs" in typed or any(typed.get(n, defaults[n]) != defaults[n] for n in _OF_A_SUPERNET)
    return "supernet" if is_asked else by_default


def _strategy(typed: Mapping[str, Any]) -> Strategy:
    return known_strategy(typed.get("strategy") or SearchConfig().strategy)
