"""The options of the commands, each with its help, in timm's spelling where timm has one."""

import dataclasses
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_type_hints

import typer
import yaml

from depthfinder.data_options import DataOptions
from depthfinder.training_options import TrainingOptions
from latency.mode import Dtype, Mode

DEFAULT_OUTPUT = Path("depthfinder-out")

_MODEL_HELP: Final = (
    "A timm model, with or without the tag of its weights (resnet18.a1_in1k); or deit_digits, which ships trained."
)
_LARGEST_SIDE: Final = 16384
# The brackets are those of a list in an args.yaml.
_SIDES: Final = re.compile(r"\s*\[?\s*(\d{1,9})\s*(?:[x,]\s*(\d{1,9})\s*)?\]?\s*", re.ASCII)


def _positive(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value} is not a positive number")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number")
    return value


def _from_yaml(context: typer.Context, path: Path | None) -> Path | None:
    """Takes the values of an `args.yaml` as the defaults of the command's other options."""
    if path is None:
        return None
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise typer.BadParameter(f"{path} holds no table of options")
    unknown = sorted(set(values) - {parameter.name for parameter in context.command.params})
    if unknown:
        raise typer.BadParameter(f"{path} names options that this command has not: {', '.join(map(str, unknown))}")
    values["model_kwargs"] = format_model_kwargs(values.get("model_kwargs") or {})
    context.default_map = {name: value for name, value in values.items() if value is not None}
    return path


def format_model_kwargs(kwargs: Mapping[str, Any]) -> list[str]:
    """{'depth': 6, ...} -> ['depth=6', ...], as `parse_model_kwargs` reads it back."""
    return [f"{name}={json.dumps(value)}" for name, value in kwargs.items()]


def _typed_value(text: str) -> Any:
    """JSON where it is JSON (YAML 1.1 takes 1e-5 for a word), else as YAML would read it: True, None, a word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return yaml.safe_load(text)


def parse_model_kwargs(pairs: list[str] | None, img_size: str | None) -> dict[str, Any]:
    """['depth=6', ...] -> {'depth': 6, ...}. Raises `typer.BadParameter` for what is no pair, or no size of images."""
    kwargs: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not of the form name=value")
        kwargs[name] = parse_img_size(value) if name == "img_size" else _typed_value(value)
    if img_size is not None:
        kwargs["img_size"] = parse_img_size(img_size)
    return kwargs


def parse_img_size(text: str, option: str = "--img-size") -> int | list[int] | None:
    """'224' -> 224; '160,320' or '160x320' -> [160, 320], height before width; what `args.yaml` has for None -> None.

    Raises `typer.BadParameter` for anything else, which names the `option`.
    """
    if text == "null":
        return None
    found = _SIDES.fullmatch(text)
    sides = [int(side) for side in found.groups() if side is not None] if found else []
    if not sides or not all(0 < side <= _LARGEST_SIDE for side in sides):
        raise typer.BadParameter(
            f"{text!r} is no size of images: write 224, or height and width as 160x320 or 160,320, in pixels up to "
            f"{_LARGEST_SIDE}",
            param_hint=f"'{option}'",
        )
    return sides if len(sides) == 2 else sides[0]


def parse_sides(text: str | None) -> tuple[int, ...] | None:
    """What was given for --checkpoint-img-size, as (height, width)."""
    size = None if text is None else parse_img_size(text, "--checkpoint-img-size")
    return None if size is None else (size, size) if isinstance(size, int) else tuple(size)


def _option(text: str, *names: str, **more: Any) -> Any:
    """An option with its help; its default stands in the record that it belongs to."""
    return typer.Option(*names, help=text, **more)


CHECKPOINT_IMG_SIZE = Annotated[
    str | None,
    _option("The images that the checkpoint's weights are for: a side, or height and width, where it cannot be known."),
]


@dataclass(frozen=True, kw_only=True)
class PrintOptions:
    """What every command takes."""

    as_json: Annotated[bool, _option("Print one JSON object instead of tables.", "--json")] = False
    debug: Annotated[bool, _option("Show the traceback of an error.", "--debug")] = False


@dataclass(frozen=True, kw_only=True)
class ModelOptions(PrintOptions):
    """What `describe` takes."""

    model: Annotated[str | None, _option(_MODEL_HELP, "--model", "-m")] = None
    model_kwargs: Annotated[list[str] | None, _option("Arguments of the model, name=value; may be given again.")] = None
    img_size: Annotated[
        str | None,
        _option("Side of the images, or height and width (160x320 or 160,320), where the model allows others."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class DeviceOptions(PrintOptions):
    """Where and how networks are run to be measured."""

    device: Annotated[
        str | None,
        _option("The device whose latency counts: ort-cpu (the default) or another of `depthfinder devices`"),
    ] = None
    threads: Annotated[int | None, _option("Threads that the device may use; 1 by default.", min=1)] = None
    dtype: Annotated[Dtype | None, _option("Numbers that the network computes with; fp32 by default.")] = None
    channels_last: Annotated[bool, _option("Lay images out as NHWC in memory (PyTorch).", "--channels-last")] = False
    compiled: Annotated[bool, _option("Run networks through torch.compile (PyTorch).", "--torchcompile")] = False
    batch_size: Annotated[
        int | None,
        _option("Images that the deployed network takes at once; 1 by default.", "--batch-size", "-b", min=1),
    ] = None

    @property
    def mode(self) -> Mode:
        return Mode(self.threads or 1, self.dtype or "fp32", self.channels_last, self.compiled)


@dataclass(frozen=True, kw_only=True)
class TableOptions(ModelOptions, DeviceOptions):
    """What is common to the commands that need a latency table."""

    max_seconds: Annotated[float, _option("Time to spend on a table, compiling included.", callback=_positive)] = 60.0
    seed: Annotated[int, _option("Decides everything that is drawn at random.", min=0)] = 0
    widths: Annotated[
        str,
        _option("Inner widths that blocks may be given, of 75, 50 and 25 % of their own; none for none of them."),
    ] = "75,50,25"
    output: Annotated[Path, _option("The folder that holds profiles and runs.")] = DEFAULT_OUTPUT


@dataclass(frozen=True, kw_only=True)
class ProfileOptions(TableOptions):
    """What `profile` takes."""

    max_seconds: Annotated[float, _option("Time to spend on each network, compiling included.", callback=_positive)] = (
        110.0
    )
    kit: Annotated[
        Path | None, _option("Measure nothing: pack a kit to be run on the device, which need not be here.")
    ] = None
    imported: Annotated[Path | None, _option("Read in the results.json that a kit brought back.", "--import")] = None
    modelled: Annotated[
        bool, _option("Measure nothing: a table from published timings of operators.", "--modelled")
    ] = False
    active: Annotated[
        int | None,
        _option("Predict the table from others of this device, and measure the N rows that are least sure.", min=0),
    ] = None


@dataclass(frozen=True, kw_only=True)
class MeasureOptions(DeviceOptions, ModelOptions):
    """What `measure` takes."""

    networks: Annotated[
        list[Path],
        typer.Argument(help="ONNX files, folders of runs, or plans; others are compared to the first."),
    ]
    seconds: Annotated[float, _option("Time to spend on measuring.", callback=_positive)] = 20.0


@dataclass(frozen=True, kw_only=True)
class RunOptions(TrainingOptions, DataOptions, TableOptions):
    """What `run` and `search` take."""

    config: Annotated[
        Path | None,
        _option("An args.yaml whose run to repeat.", "--config", "-c", is_eager=True, callback=_from_yaml),
    ] = None
    profile: Annotated[
        str | None, _option("Go by this table (.json) in place of the newest that matches; refused if it does not.")
    ] = None
    pretrained: Annotated[
        bool, _option("Start from the model's published weights, those of its tag if it has one.", "--pretrained")
    ] = False
    checkpoint: Annotated[
        str | None, _option("Start from the weights in this file (safetensors, or tensors that torch saved).")
    ] = None
    checkpoint_img_size: CHECKPOINT_IMG_SIZE = None
    budget_ms: Annotated[
        str | None, _option("The latency the network may have, in ms: 25, or for several devices ort-cpu=20,mi100=3.2.")
    ] = None
    budget_ratio: Annotated[float | None, _option("The same as a share of the baseline's.", callback=_positive)] = None
    keep: Annotated[
        list[str] | None, _option("A block to leave alone, or a path that blocks lie under; may be given again.")
    ] = None
    choices: Annotated[str | None, _option("The only ways blocks may be cut in, such as merge,drop.")] = None
    max_pruned: Annotated[int | None, _option("The most blocks that may be cut.", min=1)] = None
    keep_one_per_stage: Annotated[
        bool, _option("Leave at least one block of every stage as it is.", "--keep-one-per-stage")
    ] = False
    max_parameters: Annotated[
        float | None, _option("The most parameters the network may have.", callback=_positive)
    ] = None
    max_memory_mb: Annotated[
        float | None, _option("The most memory its weights may take, in MB of 10^6 bytes.", callback=_positive)
    ] = None
    without_training: Annotated[
        bool,
        _option(
            "Train nothing: fit layers in the blocks' places on images without labels, find the plan by them, and "
            "merge and measure it. The same as --scored-by fits --progressive-epochs 0.",
            "--without-training",
        ),
    ] = False
    scored_by: Annotated[
        str | None,
        _option(
            "What plans are scored by: fits, layers fitted to the blocks on images without labels, or supernet, a "
            "weight-sharing network that is trained first; fits, unless the strategy learns with a supernet."
        ),
    ] = None
    fit_images: Annotated[int, _option("Images that layers are fitted on; a fifth of them judges the fits.", min=5)] = (
        1024
    )
    strategy: Annotated[
        str,
        _option(
            "How the plan is found: optuna evaluates many; gate learns gates with the supernet; scores and dimap solve "
            "exactly for the scores of single cuts, or for an importance of weights that needs no data."
        ),
    ] = "optuna"
    gate_form: Annotated[str, _option("The form of the gate: knapsack or shift.")] = "knapsack"
    sampler: Annotated[str, _option("What proposes plans: auto, tpe, gp, nsga2, random or exhaustive.")] = "auto"
    n_trials: Annotated[int, _option("Plans to evaluate.", min=1)] = 128
    gap: Annotated[
        float,
        _option(
            "Stop when no plan is held to be better by more than this share of the best score.", min=0, callback=_finite
        ),
    ] = 0.0
    timeout: Annotated[
        float | None, _option("Seconds after which no more plans are evaluated.", callback=_positive)
    ] = None
    bn_estimation: Annotated[
        bool, _option("Take BatchNorm statistics anew for every plan that is evaluated.", "--bn-estimation")
    ] = False
    workers: Annotated[int, _option("Processes that evaluate plans on this machine.", min=1)] = 1
    storage: Annotated[
        str | None,
        _option(
            "Where the study is kept: sqlite:///FILE, journal:///FILE or, for many machines, postgresql://USER@HOST/DB."
        ),
    ] = None
    study_name: Annotated[str | None, _option("Name of the study; by default that of the run's folder.")] = None
    experiment: Annotated[
        str | None, _option("Name of the run's folder; by default from model, device, budget and seed.")
    ] = None

    @property
    def way_of_scoring(self) -> str:
        """What was asked for; else a supernet where the strategy has one or something was asked of it, and fits if
        not."""
        if self.without_training:
            return "fits"
        if self.scored_by is not None:
            return self.scored_by
        asked, unasked = (
            (one.supernet_epochs, one.supernet_sampling, one.supernet_plans, one.freeze_backbone)
            for one in (self, RunOptions())
        )
        return "supernet" if asked != unasked or self.strategy in ("gate", "dimap") else "fits"


Options = TypeVar("Options", bound=PrintOptions)


def takes(record: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Makes a function of one record of options a function of as many keywords, which typer turns into a command."""

    def decorate(command: Callable[[Options], None]) -> Callable[..., None]:
        def call(**values: Any) -> None:
            command(record(**values))

        hints = get_type_hints(record, include_extras=True)
        parameters = [
            inspect.Parameter(
                f.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if f.default is dataclasses.MISSING else f.default,
                annotation=hints[f.name],
            )
            for f in dataclasses.fields(record)
        ]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = hints
        call.__doc__ = command.__doc__
        return call

    return decorate
