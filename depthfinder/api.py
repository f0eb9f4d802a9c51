"""The functions of the public door that take names and paths where the packages behind them take objects."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import nn

from depthfinder.config.files import check_names
from depthfinder.config.model import ModelConfig
from depthfinder.config.resolved import run_config_with_budget
from depthfinder.config.run import RunConfig
from depthfinder.console import log
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
from pruner.choices.chain import Chain
from pruner.choices.choice import CHOICES
from pruner.choices.plan import Plan
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
from search.verification.finalists import Judge, TimePlans
from search.verification.margin import AIMED_BELOW, margin_on
from search.verification.timing import plan_timer
from search.verification.within_budget import search_within_budget

_MERGED: Final = ("merged.safetensors", "plan.json", "args.yaml")

Evaluate = Callable[[Sequence[Plan]], Sequence[Score | float]]
"""Scores of plans, higher is better."""


@renamed_argument("also", "extra_choices")
@renamed_argument("compiled", "torchcompile")
def profile(
    model: nn.Module,
    device: str = "ort-cpu",
    *,
    batch_size: int = 1,
    threads: int = 1,
    dtype: Dtype = "fp32",
    channels_last: bool = False,
    torchcompile: bool = False,
    max_seconds: float = 60.0,
    seed: int = 0,
    model_kwargs: Mapping[str, Any] | None = None,
    extra_choices: Collection[str] = (),
    input_size: Sequence[int] | None = None,
) -> Profile:
    """Measures the latency table of `model` on a device, for the chain that `df.describe` returns.

    Args:
        device: The name of the device, as `depthfinder devices` lists them.
        batch_size: How many images the network takes at once.
        threads: How many threads of the processor it runs on.
        dtype: The type of its numbers: "fp32", "fp16" or "bf16".
        channels_last: Whether images are laid out as NHWC.
        torchcompile: Whether the network is compiled by `torch.compile`.
        max_seconds: The time to spend on measuring, compiling included.
        seed: Decides everything that is drawn at random.
        model_kwargs: What the network was made with, beside its name; recorded in the table.
        extra_choices: Names of choices that blocks have on request, to be measured too.
        input_size: (channels, height, width) of the images; without it the network's own, or 224 x 224 where it takes
            any size and timm says nothing else.

    Raises:
        UnknownDeviceError: when no device has this name.
        DeviceMissingError: when the device is not here.
        UnsupportedModeError: when the device does not run networks in this way.
        UnknownModelError: when no family recognises the network, it takes no such images, or no block can be cut.

    Example:
        The device "null" computes costs exactly, and needs no hardware:

        >>> import depthfinder as df
        >>> model = df.load_model("deit_digits", pretrained=True)
        >>> table = df.profile(model, "null", max_seconds=0.1)
        >>> table.setting.device, table.origin, len(table.blocks)
        ('null', 'measured', 24)
    """
    opened = open_device(device, Mode(threads, dtype, channels_last, torchcompile))
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
    model: nn.Module | None = None,
    device: str | None = None,
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
    """Searches for the best plans within a latency budget: by the table, or with a `device` as measured there.

    With a device the best plans are measured beside the uncut network, the table is corrected by what that shows, and
    the search goes on until a plan is measured to fit: `result.best` is that one, and `result.finalists` are all that
    were measured.

    Args:
        chain: The blocks of the network, from `df.describe`.
        profile: Its latency table, from `df.profile` or `df.load_profile`.
        budget_ms: The latency that a plan may have, in milliseconds.
        evaluate: Called with plans, returns their scores; higher is better. A plan that failed may have the score -inf,
            and then counts as worse than all others. `df.Evaluator` and `df.Fitted` are such.
        model: The network itself, which measuring takes.
        device: Where the best plans are measured; it has to be the table's.
        storage: The URL of a storage that keeps the study: the same call goes on from the plans that it finds there.
            No other process may use the study meanwhile.
        study_name: The study's name in that storage.
        sampler: What proposes plans: one of `search.samplers.SAMPLERS`.
        keep: Blocks, or paths that blocks lie under, that are left alone.
        choices: The only ways in which blocks may be cut.
        max_pruned: How many blocks may be cut.
        keep_one_per_stage: Whether every stage keeps a block as it is.
        harms: (block, choice) -> the loss that is expected of this cut alone, in any unit, such as `df.Fitted.harms`.
            The search takes them as first guesses.
        n_trials: How many plans are evaluated.
        gap: The search ends when it expects no plan to be better than the best by more than this share of its score.
        timeout: The search ends after so many seconds.
        seed: Decides everything that is drawn at random.

    Raises:
        ScoreError: for a score that is no finite number; it names the plan, and the scores beside it are kept.
        BudgetUnreachableError: when no plan fits.
        ProfileError: when the table is another chain's or another device's, or lacks rows.
        PlanError: for constraints that name blocks or choices that the chain does not have.
        ValueError: for a budget that is no positive number, fewer than one trial, a gap or timeout that is no number,
            and a device without the model.

    Example:
        >>> import depthfinder as df
        >>> model = df.load_model("deit_digits", pretrained=True)
        >>> chain, table = df.describe(model), df.profile(model, "null")
        >>> found = df.search(
        ...     chain,
        ...     table,
        ...     budget_ms=0.8 * table.baseline_ms,
        ...     evaluate=lambda plans: [-len(plan.choices) for plan in plans],
        ...     n_trials=20,
        ... )
        >>> found.best.latency_ms <= 0.8 * table.baseline_ms
        True
    """
    other = why_not("this profile", profile.model, profile.fingerprint, chain.fingerprint)
    if other is not None:
        raise ProfileError(other)
    whole = Space.of(
        chain, [], keep=keep, only=choices, max_pruned=max_pruned, keep_one_per_stage=keep_one_per_stage
    ).expecting(harms or {})
    limits = (*whole.limits, *latency_limits_by(profile, Budget(budget_ms).latency_ms))
    signatures = {block.name: block.signature for block in chain.blocks}
    lacking = sorted({choice for block, choice in whole.cuts if not profile.has_row(signatures[block], choice)})
    if lacking:
        raise ProfileError(
            f"this profile has no rows for {', '.join(lacking)}: profile with extra_choices={lacking}, or search with "
            "choices= that leave them out"
        )
    identity = {
        "network": f"{chain.model} {chain.fingerprint}",
        "limits": ", ".join(limit.text for limit in limits),
        "search": f"{sampler}, seed {seed}",
    }
    where = in_memory() if storage is None else open_storage(storage)
    ledger = Ledger(where, study_name, identity, patience_s=0)

    def within(bound_ms: float, first: int, stop: int) -> SearchResult:
        return _search(
            whole.within([*whole.limits, *latency_limits_by(profile, bound_ms)]),
            evaluate=lambda plans, _bar: evaluate(plans),
            ledger=ledger,
            sampler=known_sampler(sampler),
            stop=Stop(stop, gap, timeout),
            first=first,
            seed=seed,
        )

    budget = Budget(budget_ms)
    if device is None:
        return within(budget.latency_ms, 0, n_trials)
    judges = [Judge(budget, profile, _timer(model, device, profile, whole.cuts, seed))]
    aimed_ms = budget.tightened(AIMED_BELOW).latency_ms
    found = search_within_budget(
        lambda corrections, first, stop: within(aimed_ms / corrections[0], first, stop),
        judges,
        n_trials,
        margin=margin_on(judges, chain.plan({}), log.info),
        tell=log.info,
    )
    return dataclasses.replace(found.result, finalists=found.finalists)


def _timer(
    model: nn.Module | None, device: str, profile: Profile, cuts: Iterable[tuple[str, str]], seed: int
) -> TimePlans:
    """Times plans on the device of a table as the table was measured."""
    setting = profile.setting
    if model is None:
        raise ValueError("plans are measured as networks: give the model beside the device")
    if device != setting.device:
        raise ProfileError(f"this profile is of {setting.device}: measure on that, or profile on {device}")
    threads, dtype, channels_last, compiled = setting.mode_fields
    opened = open_device(device, Mode(threads, cast(Dtype, dtype), channels_last, compiled))
    choices = sorted({choice for _, choice in cuts if CHOICES[choice].on_request})
    return plan_timer(model, opened, setting.batch_size, choices, seed=seed)


def run(
    *,
    output: str | Path = "depthfinder-out",
    experiment: str | None = None,
    without_training: bool = False,
    **settings: Any,
) -> RunResult:
    """Carries out all stages of `depthfinder run`: a table, a search, training, merging, a measured verdict.

    The same call again goes on from where it was stopped, and a finished run is read back.

    Args:
        output: The folder that holds profiles and runs.
        experiment: The name of the run's folder below it; by default from the settings that matter most.
        without_training: Whether to train nothing: layers are fitted on images without labels.
        settings: What `depthfinder run --help-all` lists, by its names with underscores; without any, the demo is run.

    Returns:
        The accuracy, the latency and the verdict, as in the run's `result.json`.

    Raises:
        SettingsError: for an unknown setting, with the nearest known one, or a value that is refused.
        BudgetUnreachableError: when no plan fits.

    Example:
        >>> found = run(budget_ratio=0.6, lr=-1)
        Traceback (most recent call last):
        pruner.errors.SettingsError: --lr: -1 is not a positive number
    """
    check_names(settings, RunConfig)
    config = run_config_with_budget(settings, without_training=without_training)
    job = run_job(config, Path(output), experiment=experiment, storage=settings.get("storage"))
    job.carry_out(ALL_STAGES)
    return RunResult.load(job.folder["result.json"])


def load_merged(folder: str | Path) -> nn.Module:
    """Returns the merged network that a run left in `folder`, in evaluation mode.

    It is made from `args.yaml`, `plan.json` and `merged.safetensors`.

    Raises:
        FolderError: a `FileNotFoundError`, when one of these is not there; it says what the folder holds instead.
        CheckpointError: when the weights do not fit.

    Example:
        A folder without a run is refused, and the error says what to name:

        >>> import tempfile
        >>> import depthfinder as df
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     try:
        ...         df.load_merged(folder)
        ...     except df.errors.FolderError as error:
        ...         print(str(error).partition(": ")[2].partition(";")[0])
        nothing that Depthfinder leaves is in it
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
    """Returns the network that a run began with, its weights drawn at random.

    Args:
        asked: The network and its arguments.
        weights: The file of weights that the run ended with. It tells how many classes the network has.
    """
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
    """Writes a timm network, merged or not, to an ONNX file, and compares ONNX Runtime with PyTorch on random images.

    Args:
        network: The network, in fp32 on the processor.
        path: Where the file is written.
        opset: The ONNX opset.
        atol: The accepted difference between logits, as a share of the largest absolute logit, or of 1 if that is more.
        input_size: (channels, height, width) of the images; a merged network knows at which it was cut.

    Raises:
        ExportError: when the runtimes do not agree; no file is left.

    Example:
        >>> import tempfile
        >>> import depthfinder as df
        >>> model = df.load_model("deit_digits", pretrained=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     parity = df.export(model, f"{folder}/network.onnx")
        >>> parity.images, parity.same_top1
        (16, 16)
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
    """Measures the latency of a timm network, merged or not, on a device.

    Args:
        device: The name of the device, as `depthfinder devices` lists them.
        batch_size: How many images the network takes at once.
        threads: How many threads of the processor it runs on.
        seconds: The time to measure for.
        input_size: (channels, height, width) of the images; a merged network knows at which it was cut.

    Raises:
        UnknownDeviceError: when no device has this name.
        DeviceMissingError: when the device is not here.

    Example:
        >>> import depthfinder as df
        >>> latency = df.measure(df.load_model("deit_digits", pretrained=True), "null")
        >>> latency.quality, latency.iqr_ms
        ('good', 0.0)
    """
    images = torch.rand(batch_size, *input_size_of(network, input_size), generator=torch.Generator().manual_seed(0))
    program = open_device(device, Mode(threads)).load(network, images)
    return time_interleaved({"network": program}, seconds=seconds, seed=0).measurement("network")
