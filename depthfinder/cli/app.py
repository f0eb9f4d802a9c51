"""The command line: a thin layer over the stages. Nothing heavy is imported before a command needs it.

Data goes to stdout, progress and the log to stderr. Exit status: 0 done, 1 failed, 2 usage, 3 the model, device, data
or file asked for is not here, 4 the budget cannot be met, 130 stopped by Ctrl-C.
"""

import dataclasses
import importlib.metadata
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from depthfinder.cli.dashboard import EPILOG_DASHBOARD, dashboard_command
from depthfinder.cli.demo import tell_of_demo
from depthfinder.cli.flags import Typed, takes
from depthfinder.cli.latency import (
    EPILOG_DEVICES,
    EPILOG_MEASURE,
    EPILOG_PROFILE,
    PROFILE_SECONDS,
    devices_command,
    diff_command,
    list_command,
    measure_command,
    profile_command,
    show_command,
    verify_command,
    with_newest_profile,
)
from depthfinder.cli.plain_help import Application
from depthfinder.cli.predictor import EPILOG_PREDICTOR, evaluate_command, fit_command, predict_command
from depthfinder.cli.requests import MeasureRequest, PrintRequest, ProfileRequest, RunRequest
from depthfinder.cli.sparsify import EPILOG_SPARSIFY, SPARSIFY_SECONDS, SPARSIFY_TAKES, sparsify_command
from depthfinder.cli.worker import worker_command
from depthfinder.config.declared import made
from depthfinder.config.files import checked
from depthfinder.config.measure import DeviceConfig, TableConfig
from depthfinder.config.model import ArchitectureConfig
from depthfinder.config.resolved import run_config, run_config_with_budget, with_file
from depthfinder.config.run import RunConfig, Seeded
from depthfinder.config.search import OfferConfig
from depthfinder.console import Stopped

if TYPE_CHECKING:
    from depthfinder.folder.run_folder import RunFolder
    from depthfinder.pipeline.job import Job

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


def _application(help_text: str, *, completes: bool = False) -> Application:
    return Application(
        add_completion=completes,
        no_args_is_help=False,
        pretty_exceptions_enable=False,
        help=help_text,
        context_settings=_SPELLING,
    )


def _tell_version(asked: bool) -> None:
    if asked:
        print(f"depthfinder {importlib.metadata.version('depthfinder')}")
        raise typer.Exit


app = _application("Finds how deep a vision network needs to be on your own hardware.", completes=True)
profile_app = _application("Measures what each block of a network costs.")
search_app = _application("Finds the blocks to prune under a latency budget.")
profiles_app = _application("Lists, shows, checks and compares latency tables.")
predictor_app = _application("Predicts what was not measured, from timings of operators.")


@app.callback()
def _first(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Print the version.")
    ] = False,
) -> None:
    """Finds how deep a vision network needs to be on your own hardware."""


_profile = takes(ArchitectureConfig, TableConfig, OfferConfig, Seeded, ProfileRequest, max_seconds=PROFILE_SECONDS)(
    profile_command
)
_measure = takes(MeasureRequest, ArchitectureConfig, DeviceConfig)(measure_command)
app.command("profile", epilog=EPILOG_PROFILE)(_profile)
profile_app.command(epilog=EPILOG_PROFILE)(_profile)
app.command("measure", epilog=EPILOG_MEASURE)(_measure)
app.command("devices", epilog=EPILOG_DEVICES)(takes(PrintRequest)(devices_command))
app.command("sparsify", epilog=EPILOG_SPARSIFY)(takes(*SPARSIFY_TAKES, max_seconds=SPARSIFY_SECONDS)(sparsify_command))
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
@takes(RunConfig, RunRequest)
def run_command(typed: Typed) -> None:
    """All stages: profile, what plans are scored by, search, progressive training, merge, measurement, report.

    Without --model it runs the demo: a trained 12-block DeiT on images made of handwritten digits, to 0.6 of its
    latency.

    The same command again resumes where it was stopped.
    """
    from depthfinder.folder.stages import ALL_STAGES
    from depthfinder.report.finished import show_result

    request, typed = _asked(typed)
    config = run_config_with_budget(typed, without_training=request.without_training)
    job = _job(request, config, typed)
    if "model" not in typed:
        tell_of_demo("no --model given", config)
    finished, folder = _carried_out(job, ALL_STAGES), job.folder
    if request.as_json:
        print(folder["result.json"].read_text(), end="")
        return
    if finished:
        print(f"this run is finished already: {folder.path}")
    show_result(folder)


@search_app.command(epilog=_EPILOG_SEARCH)
@app.command("search", epilog=_EPILOG_SEARCH)
@takes(RunConfig, RunRequest)
def search_command(typed: Typed) -> None:
    """The first stages alone, up to the search; `depthfinder run` with the same options goes on from there.

    With --without-training all of it, in minutes: layers are fitted in the blocks' places on images without labels, and
    the plan that they find is merged, measured and reported.

    Without --model it takes the network and the setting of the newest profile in the output folder.
    """
    from depthfinder.folder.contents import contents_of
    from depthfinder.folder.stages import ALL_STAGES, SEARCH_STAGES
    from depthfinder.report.finished import show_result
    from depthfinder.report.tables import finalists_table, show

    request, typed = _asked(typed)
    known = with_newest_profile(typed, request.output)
    config = run_config_with_budget(known, without_training=request.without_training)
    job = _job(request, config, typed)
    if "model" not in known:
        tell_of_demo(f"no --model given, and no latency table to go on from in {request.output}", config)
    stages = ALL_STAGES if request.without_training else SEARCH_STAGES
    finished, folder = _carried_out(job, stages), job.folder
    if request.as_json:
        print(folder["result.json" if request.without_training else "search.json"].read_text(), end="")
        return
    if finished:
        print(f"this search is finished already: {folder.path}")
    if request.without_training:
        show_result(folder)
        return
    show(finalists_table(json.loads(folder["search.json"].read_text())))
    _show_table_origin(folder)
    print(f"plan: {folder['plan.json']}")
    onwards = contents_of(folder.path).resuming("run")
    print(f"train, merge and measure it: {onwards.strip('`')}")


@app.command("describe", epilog=_EPILOG_DESCRIBE)
@takes(ArchitectureConfig, PrintRequest)
def describe_command(typed: Typed) -> None:
    """Shows where a network can be cut, in which ways, and why not in others. Nothing is measured."""
    asked = checked(ArchitectureConfig, typed)
    from depthfinder.report.tables import chain_table, refusals, show
    from pruner.models.load import load_model
    from pruner.network.surgery import describe

    chain = describe(load_model(asked.model, **asked.kwargs))
    if made(PrintRequest, typed).as_json:
        print(json.dumps(dataclasses.asdict(chain) | {"num_plans": chain.num_plans}, indent=1))
        return
    show(chain_table(chain))
    for line in refusals(chain):
        print(line)


@app.command("pareto", epilog=_EPILOG_PARETO)
@takes(RunConfig, RunRequest)
def pareto_command(typed: Typed) -> None:
    """The whole front of accuracy against latency in one study: which plans no faster one equals.

    A budget bounds it from above, else the uncut network does. `search` with a budget finds more at that budget.
    """
    from depthfinder.folder.stages import FRONT_STAGES
    from depthfinder.report.tables import front_table, show

    request, typed = _asked(typed)
    known = with_newest_profile(typed, request.output)
    config = run_config(known, without_training=request.without_training)
    if config.search.strategy != "optuna":
        raise typer.BadParameter(f"a front is searched by --strategy optuna alone, not by {config.search.strategy}")
    job = _job(request, config, typed)
    if "model" not in known:
        tell_of_demo(f"no --model given, and no latency table to go on from in {request.output}", config)
    finished, folder = _carried_out(job, FRONT_STAGES), job.folder
    if request.as_json:
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
    from depthfinder.folder.run_folder import RunFolder
    from depthfinder.report.finished import check_finished, show_result

    folder = RunFolder(run_folder)
    check_finished(folder)
    if as_json:
        print(folder["result.json"].read_text(encoding="utf-8"), end="")
        return
    show_result(folder)


def _asked(typed: Typed) -> tuple[RunRequest, Typed]:
    """The request of a command, and all settings that its flags and the file of `--config` give."""
    said = with_file(typed, typed.get("config"), RunRequest)
    return checked(RunRequest, said), said


def _job(request: RunRequest, config: RunConfig, typed: Typed) -> "Job":
    """The job of a command. An experiment that is not the name of one folder is refused before anything is printed."""
    from depthfinder.pipeline.job import run_job

    job = run_job(config, request.output, experiment=request.experiment, storage=typed.get("storage"))
    _ = job.folder
    return job


def _carried_out(job: "Job", stages: tuple[str, ...]) -> bool:
    """Carries out a job, and returns whether all was done before. A process that only helped ends here."""
    outcome = job.carry_out(stages)
    if outcome == "helped":
        raise typer.Exit
    return outcome == "done before"


def _show_table_origin(folder: "RunFolder") -> None:
    from depthfinder.folder.table_origin import origin_of
    from profiles.store import load_profile

    print(f"table: {folder['profile.json']}: {origin_of(load_profile(folder['profile.json']))}")


def main() -> None:
    """Runs `depthfinder`."""
    _exit_with_status(app)


def profile_main() -> None:
    """Runs `depthfinder profile` as a program of its own."""
    _exit_with_status(profile_app)


def search_main() -> None:
    """Runs `depthfinder search` as a program of its own."""
    _exit_with_status(search_app)


def _exit_with_status(application: typer.Typer) -> None:
    """Runs the command. An error of Depthfinder is printed as one line on stderr, and sets the exit status."""
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
