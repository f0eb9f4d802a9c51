"""The command `sparsify`: masks over blocks of weights, channels or N of M, by SMART or one of its baselines."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from depthfinder.console import Watch, log_to, log_warnings
from depthfinder.data_options import DataOptions, data_values
from depthfinder.demo import DEMO_MODEL, tell_of_demo
from depthfinder.latency_commands import DEFAULT_DEVICE
from depthfinder.options import CHECKPOINT_IMG_SIZE, TableOptions, parse_model_kwargs, parse_sides
from depthfinder.training_options import LearningOptions
from latency.device_names import check_device_name

if TYPE_CHECKING:
    from depthfinder.run import Run
    from depthfinder.run_folder import RunFolder
    from depthfinder.sparsify_arguments import SparsifyArguments

EPILOG_SPARSIFY: Final = "Example: depthfinder sparsify --method smart --granularity 16x8x1x1 --sparsity 0.5"
_DEFAULT_SPARSITY: Final = 0.5


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, **more)


@dataclass(frozen=True, kw_only=True)
class SparsifyOptions(LearningOptions, DataOptions, TableOptions):
    """What `sparsify` takes."""

    max_seconds: Annotated[float, _option("Time to spend on measuring, where channels are removed.", min=0.0)] = 12.0
    pretrained: Annotated[bool, _option("Start from the model's published weights.", "--pretrained")] = False
    checkpoint: Annotated[
        str | None, _option("Start from the weights in this file (safetensors, or tensors that torch saved).")
    ] = None
    checkpoint_img_size: CHECKPOINT_IMG_SIZE = None
    method: Annotated[str, _option("What finds the masks: smart, pdp, acdc, pas, awg or magnitude.")] = "smart"
    granularity: Annotated[
        str, _option("What goes together: blocks (16x8x1x1: out, in, height, width), channels, or N of M (2:4).")
    ] = "16x8x1x1"
    sparsity: Annotated[
        float | None, _option("The share of blocks or channels that goes; 0.5 by default. N of M has its own.")
    ] = None
    epochs: Annotated[int, _option("Epochs in all, the search for the masks and the training under them.", min=1)] = 8
    search_share: Annotated[float, _option("The share of them after which the masks are decided.")] = 0.6
    kd_temperature: Annotated[float, _option("How much the uncut network's answers are softened.", min=0.01)] = 2.0
    distill_loss_weight: Annotated[float, _option("Weight of those answers beside the labels; 0 is none.", min=0)] = 1.0
    experiment: Annotated[
        str | None, _option("Name of the folder; by default from model, method, granularity, sparsity and seed.")
    ] = None


def sparsify_command(asked: SparsifyOptions) -> None:
    """Finds groups of weights that a network can do without, and trains it without them.

    Without --model it takes the demo: a trained 12-block DeiT on images made of handwritten digits.

    Channels are removed, and both networks measured; blocks and N of M are masked, and gain time only on hardware and
    kernels that skip zeros. The same command again resumes where it was stopped.
    """
    from depthfinder.finished import show_result
    from depthfinder.run_folder import MASK_STAGES, RunFolder, stages_of

    arguments = _arguments(asked)
    folder = RunFolder.named(
        asked.output, arguments.default_experiment if asked.experiment is None else asked.experiment
    )
    if asked.model is None:
        tell_of_demo("no --model given", arguments)
    stages = stages_of(MASK_STAGES, finetunes=arguments.finetune_epochs > 0)
    finished = _carry_out(asked, arguments, folder, stages)
    text = folder["result.json"].read_text(encoding="utf-8")
    if asked.as_json:
        print(text, end="")
        return
    if finished:
        print(f"this is finished already: {folder.path}")
    show_result(folder)


def _carry_out(
    asked: SparsifyOptions, arguments: "SparsifyArguments", folder: "RunFolder", stages: Sequence[str]
) -> bool:
    """Does what is left of `stages`, and says whether nothing was; writes nothing before all that it needs is here."""
    from depthfinder.claiming import claim, difference

    if not difference(folder, arguments).again and all(folder.is_done(stage) for stage in stages):
        claim(folder, arguments)
        return True
    from depthfinder.at_once import check_inputs, check_train_device

    check_device_name(arguments.device)
    check_train_device(arguments.train_device)
    check_inputs(arguments, arguments.checkpoint)
    from depthfinder.run import Run
    from depthfinder.stages import carry_out
    from profiles.names import below
    from pruner.training.world import joined

    with joined(arguments.train_device) as world:
        run = Run(arguments, folder, below(asked.output, "profiles"), Watch(shown=world.leads), world=world)
        _check(run)
        if world.leads:
            folder.path.mkdir(parents=True, exist_ok=True)
            log_to(folder["log.txt"])
            claim(folder, arguments)
        else:
            log_warnings()
        with run.watch.signals():
            carry_out(run, stages)
    if not world.leads:
        raise typer.Exit
    return False


def _check(run: "Run") -> None:
    """What is wrong with the words alone is told before anything is loaded."""
    from depthfinder.mask_stages import arguments_of, check_masks
    from depthfinder.training_stages import check_training
    from pruner.masks.granularity import parse
    from pruner.masks.methods import known_method

    known_method(arguments_of(run).method)
    granularity = parse(arguments_of(run).granularity)
    if not granularity.keeps_its_shape:
        _ = run.device
    run.check_for_training()
    check_training(run)
    check_masks(run)


def _arguments(asked: SparsifyOptions) -> "SparsifyArguments":
    """What was asked for, with the demo's model and images where it names none."""
    from depthfinder.sparsify_arguments import SparsifyArguments
    from pruner.names import ModelName

    model = str(ModelName.parse(asked.model or DEMO_MODEL))
    is_demo = model == DEMO_MODEL and asked.data_dir is None and asked.dataset in (None, "digits")
    sparsity = asked.sparsity if asked.sparsity is not None or ":" in asked.granularity else _DEFAULT_SPARSITY
    return SparsifyArguments(
        model=model,
        pretrained=asked.pretrained or (is_demo and asked.checkpoint is None),
        checkpoint=asked.checkpoint,
        checkpoint_img_size=parse_sides(asked.checkpoint_img_size),
        model_kwargs=parse_model_kwargs(asked.model_kwargs, asked.img_size),
        **data_values(asked) | {"dataset": asked.dataset or ("digits" if is_demo else "folder")},
        **{field.name: getattr(asked, field.name) for field in dataclasses.fields(LearningOptions)},
        kd_temperature=asked.kd_temperature,
        distill_loss_weight=asked.distill_loss_weight,
        method=asked.method,
        granularity=asked.granularity,
        sparsity=sparsity,
        epochs=asked.epochs,
        search_share=asked.search_share,
        device=asked.device or DEFAULT_DEVICE,
        threads=asked.threads or 1,
        batch_size=asked.batch_size or 1,
        dtype=asked.mode.dtype,
        channels_last=asked.channels_last,
        compiled=asked.compiled,
        max_seconds=asked.max_seconds,
        seed=asked.seed,
    )
