"""The functions of the public door that take names and paths where the packages behind them take objects."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from depthfinder.config.declared import declared_in
from depthfinder.config.model import ModelConfig
from depthfinder.config.resolved import run_config_with_budget
from depthfinder.config.run import RunConfig
from depthfinder.folder.contents import contents_of
from depthfinder.folder.result import RunResult
from depthfinder.folder.stages import ALL_STAGES
from depthfinder.pipeline.job import run_job
from latency.devices import Mode, open_device
from latency.export import Parity, export_onnx
from latency.mode import Dtype
from latency.profiler import profile as _profile
from latency.timing import time_interleaved
from profiles.deprecated import renamed_argument
from profiles.errors import ProfileError
from profiles.fingerprint import why_not
from profiles.measurement import Measurement
from profiles.profile import Profile
from profiles.registry import nearest_first
from pruner.choices.chain import Chain
from pruner.choices.plan import Plan
from pruner.errors import SettingsError
from pruner.models.load import load_model
from pruner.models.weights_file import read_weights
from pruner.models.weights_fit import head_names, load_weights
from pruner.network.surgery import apply, input_size_of, merge
from pruner.scoring.score import Score
from search.candidate import SearchResult
from search.limits import latency_limits_by
from search.samplers import known_sampler
from search.search import Stop
from search.search import search as _search
from search.space import Space
from search.storage.ledger import Ledger, in_memory
from search.storage.opening import open_storage
from search.verification.budget import Budget

_MERGED: Final = ("merged.safetensors", "plan.json", "args.yaml")

Evaluate = Callable[[Sequence[Plan]], Sequence[Score | float]]
"""Scores of plans, higher is better."""


@renamed_argument("also", "extra_choices")
def profile(
    model: nn.Module,
    device: str = "ort-cpu",
    *,
    batch_size: int = 1,
    threads: int = 1,
    dtype: Dtype = "fp32",
    channels_last: bool = False,
    compiled: bool = False,
    max_seconds: float = 60.0,
    seed: int = 0,
    model_kwargs: Mapping[str, Any] | None = None,
    extra_choices: Collection[str] = (),
    input_size: Sequence[int] | None = None,
) -> Profile:
    """The latency table of `model` on a device, measured now, for the chain of `describe(model, also, input_size=...)`.

    `input_size` is (channels, height, width) of the images; without it the network's own, or 224 x 224 where it takes
    any size and timm says nothing else.

    Raises `UnknownDeviceError` for a device, and `UnknownModelError` for a network, that is not known;
    `DeviceMissingError` for a device that is not here.
    """
    opened = open_device(device, Mode(threads, dtype, channels_last, compiled))
    return _profile(
        model,
        opened,
        batch_size=batch_size,
        max_seconds=max_seconds,
        seed=seed,
        model_kwargs=model_kwargs,
        extra_choices=extra_choices,
        input_size=input_size,
    )


def search(
    chain: Chain,
    profile: Profile,
    *,
    budget_ms: float,
    evaluate: Evaluate,
    storage: str | None = None,
    study_name: str = "depthfinder",
    sampler: str = "auto",
    keep: Sequence[str] = (),
    choices: Sequence[str] | None = None,
    max_pruned: int | None = None,
    keep_one_per_stage: bool = False,
    harms: Mapping[tuple[str, str], float] | None = None,
    n_trials: int = 64,
    gap: float = 0.0,
    timeout: float | None = None,
    seed: int = 0,
) -> SearchResult:
    """The best plans whose latency by the table is at most `budget_ms`; `evaluate(plans)` gives their scores.

    `harms` is what single cuts, (block, choice), are expected to cost, in no particular unit, where something is known
    of that, such as `df.Fitted.harms`: it is where the search begins, and no more than a guess to it.

    With a `storage` the same call goes on from the plans that it finds there; it is taken to be nobody else's. The
    search ends after `n_trials` plans or `timeout` seconds, or when no plan is held to be better by more than `gap`.

    A plan that failed may have the score -inf, and then counts as worse than all others.

    Raises `ScoreError`, which names the plan, for any other score that is no finite number: those beside it are kept.
    Raises `BudgetUnreachableError` when no plan fits, `ProfileError` when the table is another chain's, `PlanError` for
    constraints that name what there is not, and `ValueError` for a budget that is no positive number, for fewer than
    one trial, and for a gap or timeout that is no number.
    """
    other = why_not("this profile", profile.model, profile.fingerprint, chain.fingerprint)
    if other is not None:
        raise ProfileError(other)
    space = Space.of(
        chain,
        latency_limits_by(profile, Budget(budget_ms).latency_ms),
        keep=keep,
        only=choices,
        max_pruned=max_pruned,
        keep_one_per_stage=keep_one_per_stage,
    ).expecting(harms or {})
    signatures = {block.name: block.signature for block in chain.blocks}
    lacking = sorted({choice for block, choice in space.cuts if not profile.has_row(signatures[block], choice)})
    if lacking:
        raise ProfileError(
            f"this profile has no rows for {', '.join(lacking)}: profile with extra_choices={lacking}, or search with "
            "choices= that leave them out"
        )
    identity = {
        "network": f"{chain.model} {chain.fingerprint}",
        "limits": ", ".join(limit.text for limit in space.limits),
        "search": f"{sampler}, seed {seed}",
    }
    where = in_memory() if storage is None else open_storage(storage)
    return _search(
        space,
        evaluate=lambda plans, _bar: evaluate(plans),
        ledger=Ledger(where, study_name, identity, patience_s=0),
        sampler=known_sampler(sampler),
        stop=Stop(n_trials, gap, timeout),
        seed=seed,
    )


def run(
    *,
    output: str | Path = "depthfinder-out",
    experiment: str | None = None,
    without_training: bool = False,
    **settings: Any,
) -> RunResult:
    """All stages, as `depthfinder run` carries them out: a table, a search, training, merging, a measured verdict.

    The same call again goes on from where it was stopped, and a finished run is read back.

    Args:
        output: The folder that holds profiles and runs.
        experiment: The name of the run's folder below it; by default from the settings that matter most.
        without_training: Whether to train nothing: layers are fitted on images without labels.
        settings: What `depthfinder run --help-all` lists, by its names with underscores; without any it is the demo.

    Raises:
        SettingsError: for a setting that there is not, with the nearest that there is, or a value that is refused.
        BudgetUnreachableError: when no plan fits.

    Example:
        >>> found = run(budget_ratio=0.6, lr=-1)
        Traceback (most recent call last):
        pruner.errors.SettingsError: --lr: -1 is not a positive number
    """
    known = {one.name for one in declared_in(RunConfig)}
    for name in settings.keys() - known:
        nearest = ", ".join(nearest_first(name, sorted(known))[:1])
        raise SettingsError(f"no setting is called {name!r}; nearest: {nearest}")
    config = run_config_with_budget(settings, without_training=without_training)
    job = run_job(config, Path(output), experiment=experiment, storage=settings.get("storage"))
    job.carry_out(ALL_STAGES)
    return RunResult.load(job.folder["result.json"])


def load_merged(folder: str | Path) -> nn.Module:
    """The merged network that a run left in `folder`, in evaluation mode, from its weights, its plan and its arguments.

    Raises `FolderError`, a `FileNotFoundError`, with what the folder holds instead when one of them is not there, and
    `CheckpointError` when the weights do not fit.
    """
    run = Path(folder)
    if not all((run / name).is_file() for name in _MERGED):
        raise contents_of(run).lacking("merged network", *_MERGED)
    model = uncut_network(RunConfig.load(run / "args.yaml").network, run / "merged.safetensors")
    cut = apply(model, Plan.from_json((run / "plan.json").read_text()))
    cut.set_lambda(0.0)
    network = merge(cut)
    load_weights(network, run / "merged.safetensors")
    return network


def uncut_network(asked: ModelConfig, weights: Path) -> nn.Module:
    """The network that a run began with, as far as the file of weights it ended with tells: weights drawn at random."""
    model, found = load_model(asked.model, **asked.kwargs), read_weights(weights)
    # A network that was trained on images has as many outputs as these had classes.
    outputs = {len(found[name]) for name in head_names(model) if name in found}
    if len(outputs) == 1:
        model = load_model(asked.model, **{"num_classes": outputs.pop(), **asked.kwargs})
    return model


def export(
    network: nn.Module,
    path: str | Path,
    *,
    opset: int = 18,
    atol: float = 1e-4,
    input_size: Sequence[int] | None = None,
) -> Parity:
    """Writes a timm network, merged or not, to an ONNX file, and compares both runtimes on random images.

    `input_size` is (channels, height, width); a merged network knows at which it was cut. Raises `ExportError`, and
    leaves no file, when they do not agree.
    """
    images = torch.rand(16, *input_size_of(network, input_size), generator=torch.Generator().manual_seed(0))
    return export_onnx(network, Path(path), images, opset=opset, atol=atol)


def measure(
    network: nn.Module,
    device: str = "ort-cpu",
    *,
    batch_size: int = 1,
    threads: int = 1,
    seconds: float = 10.0,
    input_size: Sequence[int] | None = None,
) -> Measurement:
    """The latency of a timm network, merged or not, on a device, measured now, for images of `input_size` (channels,
    height, width); a merged network knows at which it was cut."""
    images = torch.rand(batch_size, *input_size_of(network, input_size), generator=torch.Generator().manual_seed(0))
    program = open_device(device, Mode(threads)).load(network, images)
    return time_interleaved({"network": program}, seconds=seconds, seed=0).measurement("network")
