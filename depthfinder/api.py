"""The functions of the public door that take names and paths where the packages behind them take objects."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from depthfinder.config.files import check_names
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
from profiles.measurement import Measurement
from profiles.profile import Profile
from pruner.choices.plan import Plan
from pruner.models.load import load_model
from pruner.models.names import is_own, trust
from pruner.models.weights_file import read_weights
from pruner.models.weights_fit import head_names, load_weights
from pruner.network.image_size import input_size_of
from pruner.network.surgery import apply, merge

_MERGED: Final = ("merged.safetensors", "plan.json", "args.yaml")


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
    if is_own(str(settings.get("model", ""))):
        trust(str(settings["model"]))
    config = run_config_with_budget(settings, without_training=without_training)
    job = run_job(config, Path(output), experiment=experiment, storage=settings.get("storage"))
    job.carry_out(ALL_STAGES)
    return RunResult.load(job.folder["result.json"])


def load_merged(folder: str | Path, *, model: nn.Module | None = None) -> nn.Module:
    """Returns the merged network that a run left in `folder`, in evaluation mode.

    It is made from `args.yaml`, `plan.json` and `merged.safetensors`.

    Args:
        folder: The folder of the run.
        model: The uncut network of the run, with any weights. A run of code of your own (`--model nets:make`) needs it:
            code is not run because a file names it.

    Raises:
        FolderError: a `FileNotFoundError`, when one of these is not there; it says what the folder holds instead.
        CheckpointError: when the weights do not fit.

    Example:
        A folder without a run is refused, and the error says what the folder holds:

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
    if model is None:
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
