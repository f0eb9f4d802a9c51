"""The command line: a thin layer over the stages. Nothing heavy is imported before a command needs it.

Data goes to stdout, progress and the log to stderr. Exit status: 0 done, 1 failed, 2 usage, 3 the model, device, data
or file asked for is not here, 4 the budget cannot be met, 130 stopped by Ctrl-C.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from depthfinder.console import Stopped, Watch, log_to, log_warnings
from depthfinder.dashboard_command import EPILOG_DASHBOARD, dashboard_command
from depthfinder.data_options import data_values
from depthfinder.demo import DEMO_BUDGET_RATIO, DEMO_MODEL, tell_of_demo
from depthfinder.latency_commands import (
    DEFAULT_DEVICE,
    EPILOG_DEVICES,
    EPILOG_MEASURE,
    EPILOG_PROFILE,
    devices_command,
    diff_command,
    list_command,
    measure_command,
    profile_command,
    show_command,
    verify_command,
    with_newest_profile,
)
from depthfinder.options import (
    MeasureOptions,
    ModelOptions,
    PrintOptions,
    ProfileOptions,
    RunOptions,
    parse_model_kwargs,
    parse_sides,
    takes,
)
from depthfinder.plain_help import Application
from depthfinder.predictor_commands import EPILOG_PREDICTOR, evaluate_command, fit_command, predict_command
from depthfinder.search_commands import worker_command
from depthfinder.sparsify_command import EPILOG_SPARSIFY, SparsifyOptions, sparsify_command

if TYPE_CHECKING:
    from depthfinder.arguments import RunArguments
    from depthfinder.run_folder import RunFolder

_EPILOG_RUN = (
    "Example: depthfinder run --model deit_tiny_patch16_224 --checkpoint deit.safetensors "
    "--data-dir images --budget-ms 25"
)
_EPILOG_DESCRIBE = "Example: depthfinder describe --model resnet18 --img-size 160"
_EPILOG_SEARCH = "Example: depthfinder search --budget-ms 25 --data-dir images"
_EPILOG_PARETO = "Example: depthfinder pareto --model deit_tiny_patch16_224 --checkpoint deit.pt --data-dir images"
_EPILOG_REPORT = "Example: depthfinder report depthfinder-out/deit_digits-ort-cpu-x0.6-s0"

# snake_case is taken for kebab-case: `--budget_ms` is `--budget-ms`.
_SPELLING = {"token_normalize_func": lambda name: name.replace("_", "-")}


def _application(help_text: str) -> Application:
    return Application(
        add_completion=False,
        no_args_is_help=False,
        pretty_exceptions_enable=False,
        help=help_text,
        context_settings=_SPELLING,
    )


app = _application("Finds how deep a vision network needs to be on your own hardware.")
profile_app = _application("Measures what each block of a network costs.")
search_app = _application("Finds the blocks to prune under a latency budget.")
profiles_app = _application("Lists, shows, checks and compares latency tables.")
predictor_app = _application("Predicts what was not measured, from timings of operators.")

app.command("profile", epilog=EPILOG_PROFILE)(takes(ProfileOptions)(profile_command))
profile_app.command(epilog=EPILOG_PROFILE)(takes(ProfileOptions)(profile_command))
app.command("measure", epilog=EPILOG_MEASURE)(takes(MeasureOptions)(measure_command))
app.command("devices", epilog=EPILOG_DEVICES)(takes(PrintOptions)(devices_command))
app.command("sparsify", epilog=EPILOG_SPARSIFY)(takes(SparsifyOptions)(sparsify_command))
app.command("dashboard", epilog=EPILOG_DASHBOARD)(dashboard_command)
app.add_typer(profiles_app, name="profiles", epilog="Example: depthfinder profiles list")
_PROFILES: tuple[tuple[str, Callable[..., None]], ...] = (
    ("list", list_command),
    ("show", show_command),
    ("verify", verify_command),
    ("diff", diff_command),
)
_PREDICTOR: tuple[tuple[str, Callable[..., None]], ...] = (
    ("fit", fit_command),
    ("predict", predict_command),
    ("evaluate", evaluate_command),
)
for _name, _command in _PROFILES:
    profiles_app.command(_name)(_command)
app.add_typer(predictor_app, name="predictor", epilog=EPILOG_PREDICTOR)
for _name, _command in _PREDICTOR:
    predictor_app.command(_name, epilog=EPILOG_PREDICTOR)(_command)


@app.command("run", epilog=_EPILOG_RUN)
@takes(RunOptions)
def run_command(asked: RunOptions) -> None:
    """All stages: profile, what plans are scored by, search, progressive training, merge, measurement, report.

    Without --model it runs the demo: a trained 12-block DeiT on images made of handwritten digits, to 0.6 of its
    latency.

    The same command again resumes where it was stopped.
    """
    from depthfinder.finished import show_result
    from depthfinder.run_folder import ALL_STAGES

    arguments = _with_demo(asked)
    folder = _run_folder(asked, arguments)
    if asked.model is None:
        tell_of_demo("no --model given", arguments)
    finished = _carry_out(asked, arguments, folder, ALL_STAGES)
    if asked.as_json:
        print(folder["result.json"].read_text(), end="")
        return
    if finished:
        print(f"this run is finished already: {folder.path}")
    show_result(folder)


@search_app.command(epilog=_EPILOG_SEARCH)
@app.command("search", epilog=_EPILOG_SEARCH)
@takes(RunOptions)
def search_command(asked: RunOptions) -> None:
    """The first stages alone, up to the search; `depthfinder run` with the same options goes on from there.

    With --without-training all of it, in minutes: layers are fitted in the blocks' places on images without labels, and
    the plan that they find is merged, measured and reported.

    Without --model it takes the network and the setting of the newest profile in the output folder.
    """
    from depthfinder.contents import contents_of
    from depthfinder.finished import show_result
    from depthfinder.run_folder import ALL_STAGES, SEARCH_STAGES
    from depthfinder.tables import finalists_table, show

    known = with_newest_profile(asked)
    arguments = _with_demo(known)
    folder = _run_folder(asked, arguments)
    if known.model is None:
        tell_of_demo(f"no --model given, and no latency table to go on from in {asked.output}", arguments)
    finished = _carry_out(asked, arguments, folder, ALL_STAGES if asked.without_training else SEARCH_STAGES)
    if asked.as_json:
        print(folder["result.json" if asked.without_training else "search.json"].read_text(), end="")
        return
    if finished:
        print(f"this search is finished already: {folder.path}")
    if asked.without_training:
        show_result(folder)
        return
    show(finalists_table(json.loads(folder["search.json"].read_text())))
    _show_table_origin(folder)
    print(f"plan: {folder['plan.json']}")
    onwards = contents_of(folder.path).resuming("run")
    print(f"train, merge and measure it: {onwards.strip('`')}")


@app.command("describe", epilog=_EPILOG_DESCRIBE)
@takes(ModelOptions)
def describe_command(asked: ModelOptions) -> None:
    """Shows where a network can be cut, in which ways, and why not in others. Nothing is measured."""
    kwargs = parse_model_kwargs(asked.model_kwargs, asked.img_size)
    from depthfinder.tables import chain_table, refusals, show
    from pruner.models import load_model
    from pruner.surgery import describe

    chain = describe(load_model(asked.model or DEMO_MODEL, **kwargs))
    if asked.as_json:
        print(json.dumps(dataclasses.asdict(chain) | {"num_plans": chain.num_plans}, indent=1))
        return
    show(chain_table(chain))
    for line in refusals(chain):
        print(line)


@app.command("pareto", epilog=_EPILOG_PARETO)
@takes(RunOptions)
def pareto_command(asked: RunOptions) -> None:
    """The whole front of accuracy against latency in one study: which plans no faster one equals.

    A budget bounds it from above, else the uncut network does. `search` with a budget finds more at that budget.
    """
    from depthfinder.run_folder import FRONT_STAGES
    from depthfinder.tables import front_table, show

    if asked.strategy != "optuna":
        raise typer.BadParameter(f"a front is searched by --strategy optuna alone, not by {asked.strategy}")
    known = with_newest_profile(asked)
    arguments = _arguments(known)
    folder = _run_folder(asked, arguments)
    if known.model is None:
        tell_of_demo(f"no --model given, and no latency table to go on from in {asked.output}", arguments)
    finished = _carry_out(asked, arguments, folder, FRONT_STAGES)
    if asked.as_json:
        print(folder["front.json"].read_text(), end="")
        return
    if finished:
        print(f"this front is finished already: {folder.path}")
    show(front_table(json.loads(folder["front.json"].read_text())))
    _show_table_origin(folder)
    print(f"picture:   {folder['front.svg']}")
    print(f"the study: depthfinder dashboard {folder.path}")


app.command("worker", hidden=True)(worker_command)


@app.command("report", epilog=_EPILOG_REPORT)
def report_command(
    run_folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Prints what a finished run, or sparsify, came to, and where its report lies."""
    from depthfinder.finished import check_finished, show_result
    from depthfinder.run_folder import RunFolder

    folder = RunFolder(run_folder)
    check_finished(folder)
    if as_json:
        print(folder["result.json"].read_text(encoding="utf-8"), end="")
        return
    show_result(folder)


def _run_folder(asked: RunOptions, arguments: "RunArguments") -> "RunFolder":
    from depthfinder.run_folder import RunFolder

    return RunFolder.named(asked.output, arguments.default_experiment if asked.experiment is None else asked.experiment)


def _carry_out(asked: RunOptions, arguments: "RunArguments", folder: "RunFolder", stages: Sequence[str]) -> bool:
    """Does what is left of `stages`, and says whether nothing was; writes nothing before all that it needs is here."""
    from depthfinder.claiming import claim, difference
    from depthfinder.run_folder import stages_of

    stages = stages_of(stages, finetunes=arguments.finetune_epochs > 0, scored_by=arguments.scored_by)
    if not difference(folder, arguments).again and all(folder.is_done(stage) for stage in stages):
        claim(folder, arguments)
        return True
    from depthfinder.at_once import check_run

    check_run(arguments, asked.storage)
    from depthfinder.run import Run
    from depthfinder.search_stage import check_search
    from depthfinder.stages import carry_out
    from depthfinder.training_stages import check_training
    from profiles.names import below
    from pruner.training.world import joined

    with joined(arguments.train_device) as world:
        watch = Watch(shown=world.leads)
        run = Run(arguments, folder, below(asked.output, "profiles"), watch, _with_password(asked.storage), world=world)
        run.check()
        check_search(run)
        check_training(run)
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


def _with_demo(asked: RunOptions) -> "RunArguments":
    """What was asked for, with the demo's budget where it names none."""
    if asked.budget_ms is not None and asked.budget_ratio is not None:
        raise typer.BadParameter("give --budget-ms or --budget-ratio, not both")
    if asked.budget_ms is not None or asked.budget_ratio is not None:
        return _arguments(asked)
    if (asked.model or DEMO_MODEL) != DEMO_MODEL or asked.data_dir is not None:
        raise typer.BadParameter("give a budget: --budget-ms 25, or --budget-ratio 0.7")
    return _arguments(dataclasses.replace(asked, budget_ratio=DEMO_BUDGET_RATIO))


def _arguments(asked: RunOptions) -> "RunArguments":
    """What was asked for, with the demo's model and images where it names none."""
    from depthfinder.arguments import RunArguments, parse_budgets
    from depthfinder.training_arguments import TrainingArguments
    from pruner.names import ModelName
    from search.storage_url import redacted

    model = str(ModelName.parse(asked.model or DEMO_MODEL))
    is_demo = model == DEMO_MODEL and asked.data_dir is None and asked.dataset in (None, "digits")
    device = asked.device or DEFAULT_DEVICE
    if asked.budget_ms is not None:
        budgets = _parsed(parse_budgets, asked.budget_ms, device)
        if asked.device is not None and device not in budgets:
            raise typer.BadParameter(f"--device {device} has no budget among {', '.join(budgets)}")
        device = device if device in budgets else next(iter(budgets))
    epochs = {"supernet_epochs": asked.supernet_epochs or TrainingArguments.supernet_epochs}
    if asked.without_training:
        epochs |= {"finetune_epochs": 0, "progressive_epochs": 0}
    return RunArguments(
        model=model,
        pretrained=asked.pretrained or (is_demo and asked.checkpoint is None),
        checkpoint=asked.checkpoint,
        checkpoint_img_size=parse_sides(asked.checkpoint_img_size),
        model_kwargs=parse_model_kwargs(asked.model_kwargs, asked.img_size),
        **data_values(asked) | {"dataset": asked.dataset or ("digits" if is_demo else "folder")},
        device=device,
        threads=asked.threads or 1,
        batch_size=asked.batch_size or 1,
        budget_ms=asked.budget_ms,
        budget_ratio=asked.budget_ratio,
        keep=tuple(asked.keep or ()),
        choices=asked.choices,
        widths=asked.widths,
        max_pruned=asked.max_pruned,
        keep_one_per_stage=asked.keep_one_per_stage,
        max_parameters=asked.max_parameters,
        max_memory_mb=asked.max_memory_mb,
        scored_by=asked.way_of_scoring,
        fit_images=asked.fit_images,
        strategy=asked.strategy,
        gate_form=asked.gate_form,
        sampler=asked.sampler,
        gap=asked.gap,
        timeout=asked.timeout,
        bn_estimation=asked.bn_estimation,
        workers=asked.workers,
        storage=None if asked.storage is None else redacted(asked.storage),
        study_name=asked.study_name,
        max_seconds=asked.max_seconds,
        n_trials=asked.n_trials,
        **{f.name: getattr(asked, f.name) for f in dataclasses.fields(TrainingArguments)} | epochs,
        seed=asked.seed,
        dtype=asked.mode.dtype,
        channels_last=asked.channels_last,
        compiled=asked.compiled,
        profile=asked.profile,
    )


def _parsed(parse: Callable[[str, str], dict[str, float]], text: str, device: str) -> dict[str, float]:
    try:
        return parse(text, device)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--budget-ms'") from error


def _with_password(storage: str | None) -> str | None:
    """A storage read back from `args.yaml` has stars for its password: PGPASSWORD or .pgpass has the real one."""
    return None if storage is None else storage.replace(":***@", "@")


def _show_table_origin(folder: "RunFolder") -> None:
    from depthfinder.table_origin import origin_of
    from profiles.store import load_profile

    print(f"table: {folder['profile.json']}: {origin_of(load_profile(folder['profile.json']))}")


def main() -> None:
    _exit_with_status(app)


def profile_main() -> None:
    _exit_with_status(profile_app)


def search_main() -> None:
    _exit_with_status(search_app)


def _exit_with_status(application: typer.Typer) -> None:
    """Runs the command; what goes wrong in a way that we know is one line on stderr and a status of its own."""
    try:
        application()
    except Exception as error:
        from depthfinder.errors import exit_status

        status = exit_status(error)
        if status is None or "--debug" in sys.argv:
            raise
        print(error if status == 0 else f"error: {error}", file=sys.stdout if status == 0 else sys.stderr)
        sys.exit(status)
    except Stopped as stopped:
        print(f"{stopped}; the same command goes on from there", file=sys.stderr)
        sys.exit(stopped.exit_status)
