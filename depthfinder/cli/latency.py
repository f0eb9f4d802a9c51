"""The commands about latency: profile, measure, devices and profiles. Heavy imports are made inside functions."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from depthfinder.cli.flags import Typed
from depthfinder.cli.requests import DEFAULT_OUTPUT, MeasureRequest, PrintRequest, ProfileRequest
from depthfinder.config.declared import made
from depthfinder.config.files import checked
from depthfinder.config.measure import DeviceConfig, TableConfig
from depthfinder.config.model import ArchitectureConfig
from depthfinder.config.run import Seeded
from depthfinder.config.search import OfferConfig
from depthfinder.config.words import model_arguments
from depthfinder.console import Watch, log_to
from depthfinder.pipeline.at_once import check_here
from latency.device_names import check_device_name
from profiles.errors import ProfileError

if TYPE_CHECKING:
    from latency.device import Device
    from profiles.profile import Profile

PROFILE_SECONDS: Final = 110.0
"""Seconds for each network: a table of `profile` is measured longer than one that a run makes on its way."""
FOUR_NETWORKS: Final = ("resnet34", "mobilenetv2_100", "convnext_tiny", "deit_tiny_patch16_224")
"""The networks of the paper, at 224 pixels: they are profiled when no network is named."""

EPILOG_PROFILE: Final = "Example: depthfinder profile --model deit_tiny_patch16_224 --device ort-cpu --batch-size 1"
EPILOG_MEASURE: Final = "Example: depthfinder measure baseline.onnx merged.onnx --device ort-cpu"
EPILOG_DEVICES: Final = "Example: depthfinder devices --json"

_RootOption = Annotated[Path, typer.Option(help="The folder that holds profiles and runs.")]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


def profile_command(typed: Typed) -> None:
    """Measures a network's latency table on a device: each distinct block alone, and in whole networks.

    Without --model it takes ResNet-34, MobileNetV2, ConvNeXt-Tiny and DeiT-Tiny, at 224 pixels.

    A device that is not here: --kit packs what is to be measured, --import reads what came back, and --modelled goes by
    published timings of operators. --active predicts from the tables of other networks and sizes, and measures what is
    least sure.
    """
    log_to(None)
    request, network = checked(ProfileRequest, typed), checked(ArchitectureConfig, typed)
    measure, offer, seed = checked(TableConfig, typed), checked(OfferConfig, typed), checked(Seeded, typed).seed
    check_device_name(measure.device)
    if request.imported is not None:
        if not request.imported.exists():
            raise ProfileError(f"there are no results {request.imported}")
        from latency.kit.reader import import_results

        _keep(request, import_results(request.imported))
        return
    from latency.device import missing
    from latency.devices import known_device

    device = known_device(measure.device)
    absence = device.absence()
    models = [network.model] if "model" in typed else list(FOUR_NETWORKS)
    if absence is not None and request.kit is None and not request.modelled:
        raise missing(device.name, absence, network.model if "model" in typed else None)
    watch = Watch()
    with watch.signals():
        for index, model in enumerate(models):
            with watch.stage(f"profile {model}"):
                size = {"batch_size": measure.batch_size, "seed": seed, "extra_choices": offer.shares}
                one = dataclasses.replace(network, model=model)
                kit = request.kit if len(models) == 1 else _kit_of(request.kit, model)
                _profile_one(dataclasses.replace(request, kit=kit), one, measure, device, watch, size)
            if index < len(models) - 1 and not request.as_json:
                print()


def _kit_of(kit: Path | None, model: str) -> Path | None:
    """The file of a kit for one of several networks."""
    from profiles.names import as_file_name

    return None if kit is None else kit.with_stem(f"{kit.stem}-{as_file_name(model)}")


def _profile_one(
    request: ProfileRequest,
    asked: ArchitectureConfig,
    measure: TableConfig,
    device: "type[Device[Any]]",
    watch: Watch,
    size: dict[str, Any],
) -> None:
    from pruner.models.load import load_model

    network, mode, seconds = load_model(asked.model, **asked.kwargs), measure.mode, measure.max_seconds
    size |= {"model_kwargs": asked.kwargs}
    if request.kit is not None:
        from latency.kit.writer import write_kit

        write_kit(request.kit, network, device, mode, max_seconds=seconds, progress=watch, **size)
        print(f"kit: {request.kit}: carry it to {device.name}, unpack it, `python run.py`, and bring results.json back")
        print("then: depthfinder profile --import results.json")
        return
    if request.modelled:
        from latency.modelled import modelled_profile

        _keep(request, modelled_profile(network, device.name, mode, progress=watch, **size))
        return
    if request.active is not None:
        from depthfinder.pipeline.unseen_sizes import tables_in_mode, timed_pieces_of
        from latency.active import active_profile

        here = device(mode)
        tables = tables_in_mode(request.output / "profiles", here.setting(measure.batch_size))
        pieces = timed_pieces_of(tables, watch)
        found = active_profile(network, here, pieces, request.active, max_seconds=seconds, progress=watch, **size)
        _keep(request, found)
        return
    from latency.profiler import profile

    _keep(request, profile(network, device(mode), max_seconds=seconds, progress=watch, **size))


def _keep(request: ProfileRequest, found: "Profile") -> None:
    """Writes a profile and its pictures to the folder where later commands find it, and prints it."""
    from depthfinder.report.profile_pictures import judgement, where_the_time_goes
    from depthfinder.report.tables import profile_table, show
    from profiles.files import write_whole
    from profiles.names import below
    from profiles.store import profile_path
    from profiles.writing import save_profile

    path = profile_path(below(request.output, "profiles"), found.model, found.setting)
    pictures = {".time.svg": where_the_time_goes(found)}
    if found.anchors:
        pictures[".error.svg"] = judgement(found)
    save_profile(found, path)
    for ending, picture in pictures.items():
        write_whole(path.with_suffix(ending), picture)
    if request.as_json:
        print(path.read_text(), end="")
        return
    show(profile_table(found))
    if found.conditions is not None and found.conditions.noise is not None:
        print(f"the machine was not steady: {found.conditions.noise}; profile again when it is quiet")
    print(f"profile: {path} (the table beside it as .csv, where the time goes as .time.svg)")
    print(f"next: depthfinder search --budget-ms {0.7 * found.baseline_ms:.3g} --data-dir FOLDER")


def measure_command(typed: Typed) -> None:
    """Measures networks side by side: ONNX files, the networks of finished runs, or of plans.

    Of a folder that sparsify left, its baseline too.
    """
    request, asked = checked(MeasureRequest, typed), checked(DeviceConfig, typed)
    network = checked(ArchitectureConfig, typed)
    check_device_name(asked.device)
    check_here(*request.networks)
    from depthfinder.pipeline.measuring import notes_on, programs_of
    from depthfinder.report.tables import measured_table, show
    from latency.devices import open_device
    from latency.evidence import Evidence
    from latency.timing import time_interleaved

    device, batch_size = open_device(asked.device, asked.mode), asked.batch_size
    model = network.model if "model" in typed else None
    programs = programs_of(request.networks, device, batch_size, model, network.kwargs)
    for note in notes_on(request.networks):
        print(note, file=sys.stderr)
    watch = Watch()
    with watch.signals(), watch.stage("measure"):
        one_thread = device.one_thread
        timings = time_interleaved(programs, seconds=request.seconds, seed=0, one_thread=one_thread, progress=watch)
    setting = device.setting(batch_size)
    first = next(iter(programs))
    found = {name: Evidence.of(timings, name, first) for name in programs}
    if request.as_json:
        record = {
            "setting": dataclasses.asdict(setting),
            "networks": [
                {
                    "network": name,
                    **one.network.record(),
                    "against_first": dataclasses.asdict(one.wall),
                    "against_first_by_processor": None if one.processor is None else dataclasses.asdict(one.processor),
                    "doubts": list(one.doubts_in_ms),
                }
                for name, one in found.items()
            ],
        }
        print(json.dumps(record, indent=1))
        return
    show(measured_table(setting, timings, list(programs)))
    for name, one in found.items():
        if one.doubts_in_ms:
            print(f"{name}: not to be believed: {'; '.join(one.doubts_in_ms)}; measure again when the machine is quiet")


def devices_command(typed: Typed) -> None:
    """Lists the devices that are known, whether each is here, and if not why."""
    from depthfinder.report.tables import devices_table, show
    from latency.devices import DEVICES

    found = {name: device.absence() for name, device in DEVICES.items()}
    if made(PrintRequest, typed).as_json:
        print(
            json.dumps([{"device": name, "here": why is None, "why_not": why} for name, why in found.items()], indent=1)
        )
        return
    show(devices_table({name: (DEVICES[name], why) for name, why in found.items()}))


def list_command(output: _RootOption = DEFAULT_OUTPUT, as_json: _JsonOption = False) -> None:
    """Lists the profiles made here, and the tables that come with the package."""
    from depthfinder.report.tables import profiles_table, show
    from profiles.store import all_profiles, shipped_profiles

    found = [*all_profiles(output / "profiles"), *shipped_profiles()]
    if as_json:
        print(
            json.dumps(
                [
                    {
                        "path": str(path),
                        "model": profile.model,
                        **dataclasses.asdict(profile.setting),
                        "origin": profile.origin,
                        "baseline_ms": profile.baseline_ms,
                        "relative_error": profile.relative_error,
                        "created": profile.created,
                    }
                    for path, profile in found
                ],
                indent=1,
            )
        )
        return
    show(profiles_table(found))


def show_command(
    profile: Annotated[Path, typer.Argument(help="A profile's .json file.")], as_json: _JsonOption = False
) -> None:
    """Shows a profile's table."""
    from depthfinder.report.tables import profile_table, show
    from profiles.store import load_profile

    found = load_profile(profile)
    if as_json:
        print(profile.read_text(), end="")
        return
    show(profile_table(found))


def verify_command(profiles: Annotated[list[Path], typer.Argument(help="Profiles' .json files.")]) -> None:
    """Checks that profiles are whole and unaltered, and that they predict their own networks."""
    from profiles.store import verified

    for path in profiles:
        print(f"{path}: {verified(path)}")


def diff_command(
    before: Annotated[Path, typer.Argument(help="A profile's .json file.")],
    after: Annotated[Path, typer.Argument(help="Another of the same network.")],
    as_json: _JsonOption = False,
) -> None:
    """Compares two profiles of one network: the whole, row by row, and the speed of the machine under each."""
    from depthfinder.report.tables import difference_table, show
    from profiles.difference import difference
    from profiles.store import load_profile

    found = difference(load_profile(before), load_profile(after))
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=1))
        return
    show(difference_table(found))
    print(found.verdict)


def with_newest_profile(typed: Typed, output: Path) -> Typed:
    """Adds the model and the setting of the newest profile to the typed settings, where no model was typed.

    The profile is of a device that was typed by itself or in the budgets, if any was. Where a data set was typed, the
    number of classes is left out, because the images decide it.

    Args:
        typed: Setting -> value.
        output: The folder that holds profiles and runs.

    Returns:
        Setting -> value; as typed where a model was typed, or no profile is found.
    """
    from profiles.names import below
    from profiles.store import newest_profile

    if "model" in typed:
        return typed
    known = newest_profile(below(output, "profiles"), _named_devices(typed))
    if known is None:
        return typed
    path, found = known
    setting, kwargs = found.setting, dict(found.model_kwargs)
    if typed.get("data_dir") is not None or typed.get("dataset", "digits") != "digits":
        kwargs.pop("num_classes", None)
    print(
        f"no --model given: taking {found.model} on {setting.device}, from the {found.origin} table {path} of "
        f"{found.created}",
        file=sys.stderr,
    )
    of_the_table = {
        "device": setting.device,
        "threads": setting.threads,
        "dtype": setting.dtype,
        "channels_last": setting.channels_last,
        "torchcompile": setting.compiled,
        "batch_size": setting.batch_size,
    }
    given = kwargs | model_arguments(typed.get("model_kwargs"))
    return {**of_the_table, **typed, "model": found.model, "model_kwargs": given}


def _named_devices(typed: Typed) -> list[str]:
    """The device that was typed by itself, else those of the budgets."""
    if typed.get("device") is not None:
        return [typed["device"]]
    parts = str(typed.get("budget_ms") or "").split(",")
    return [name.strip() for name, equals, _ in (part.partition("=") for part in parts) if equals]
