"""The commands about latency: profile, measure, devices, profiles. They import nothing heavy before they need it."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from depthfinder.arguments import shares_of
from depthfinder.at_once import check_here, check_widths
from depthfinder.console import Watch, log_to
from depthfinder.options import (
    DEFAULT_OUTPUT,
    MeasureOptions,
    PrintOptions,
    ProfileOptions,
    format_model_kwargs,
    parse_model_kwargs,
)
from latency.device_names import check_device_name
from profiles.errors import ProfileError

if TYPE_CHECKING:
    from depthfinder.options import RunOptions
    from latency.device import Device
    from latency.mode import Dtype
    from profiles.profile import Profile

DEFAULT_DEVICE: Final = "ort-cpu"
FOUR_NETWORKS: Final = ("resnet34", "mobilenetv2_100", "convnext_tiny", "deit_tiny_patch16_224")
"""Those of the paper, at 224 pixels: what is profiled when no network is named."""

EPILOG_PROFILE: Final = "Example: depthfinder profile --model deit_tiny_patch16_224 --device ort-cpu --batch-size 1"
EPILOG_MEASURE: Final = "Example: depthfinder measure baseline.onnx merged.onnx --device ort-cpu"
EPILOG_DEVICES: Final = "Example: depthfinder devices --json"

_RootOption = Annotated[Path, typer.Option(help="The folder that holds profiles and runs.")]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


def profile_command(asked: ProfileOptions) -> None:
    """Measures a network's latency table on a device: each distinct block alone, and in whole networks.

    Without --model it takes ResNet-34, MobileNetV2, ConvNeXt-Tiny and DeiT-Tiny, at 224 pixels.

    A device that is not here: --kit packs what is to be measured, --import reads what came back, and --modelled goes by
    published timings of operators. --active predicts from the tables of other networks and sizes, and measures what is
    least sure.
    """
    log_to(None)
    check_device_name(asked.device or DEFAULT_DEVICE)
    parse_model_kwargs(asked.model_kwargs, asked.img_size)
    check_widths(shares_of(asked.widths))
    if asked.imported is not None:
        if not asked.imported.exists():
            raise ProfileError(f"there are no results {asked.imported}")
        from latency.kit.reader import import_results

        _keep(asked, import_results(asked.imported))
        return
    from latency.device import missing
    from latency.devices import known_device

    device = known_device(asked.device or DEFAULT_DEVICE)
    absence = device.absence()
    if absence is not None and asked.kit is None and not asked.modelled:
        raise missing(device.name, absence, asked.model)
    models = [asked.model] if asked.model else list(FOUR_NETWORKS)
    watch = Watch()
    with watch.signals():
        for index, model in enumerate(models):
            with watch.stage(f"profile {model}"):
                _profile_one(asked, model, device, watch, several=len(models) > 1)
            if index < len(models) - 1 and not asked.as_json:
                print()


def _profile_one(
    asked: ProfileOptions, model: str, device: "type[Device[Any]]", watch: Watch, *, several: bool
) -> None:
    from pruner.models import load_model

    kwargs = parse_model_kwargs(asked.model_kwargs, asked.img_size)
    network = load_model(model, **kwargs)
    size: dict[str, Any] = {"batch_size": asked.batch_size or 1, "seed": asked.seed, "model_kwargs": kwargs}
    size["also"] = shares_of(asked.widths)
    if asked.kit is not None:
        from latency.kit.writer import write_kit
        from profiles.names import as_file_name

        path = asked.kit.with_stem(f"{asked.kit.stem}-{as_file_name(model)}") if several else asked.kit
        write_kit(path, network, device, asked.mode, max_seconds=asked.max_seconds, progress=watch, **size)
        print(f"kit: {path}: carry it to {device.name}, unpack it, `python run.py`, and bring results.json back")
        print("then: depthfinder profile --import results.json")
        return
    if asked.modelled:
        from latency.modelled import modelled_profile

        _keep(asked, modelled_profile(network, device.name, asked.mode, progress=watch, **size))
        return
    if asked.active is not None:
        from depthfinder.unseen_sizes import tables_in_mode, timed_pieces_of
        from latency.active import active_profile

        here = device(asked.mode)
        tables = tables_in_mode(asked.output / "profiles", here.setting(size["batch_size"]))
        pieces = timed_pieces_of(tables, watch)
        seconds = asked.max_seconds
        _keep(asked, active_profile(network, here, pieces, asked.active, max_seconds=seconds, progress=watch, **size))
        return
    from latency.profiler import profile

    _keep(asked, profile(network, device(asked.mode), max_seconds=asked.max_seconds, progress=watch, **size))


def _keep(asked: ProfileOptions, found: "Profile") -> None:
    """Writes a profile and its pictures where later commands find it, and prints it."""
    from depthfinder.profile_pictures import judgement, where_the_time_goes
    from depthfinder.tables import profile_table, show
    from profiles.files import write_whole
    from profiles.names import below
    from profiles.store import profile_path, save_profile

    path = profile_path(below(asked.output, "profiles"), found.model, found.setting)
    pictures = {".time.svg": where_the_time_goes(found)}
    if found.anchors:
        pictures[".error.svg"] = judgement(found)
    save_profile(found, path)
    for ending, picture in pictures.items():
        write_whole(path.with_suffix(ending), picture)
    if asked.as_json:
        print(path.read_text(), end="")
        return
    show(profile_table(found))
    if found.conditions is not None and found.conditions.noise is not None:
        print(f"the machine was not steady: {found.conditions.noise}; profile again when it is quiet")
    print(f"profile: {path} (the table beside it as .csv, where the time goes as .time.svg)")
    print(f"next: depthfinder search --budget-ms {0.7 * found.baseline_ms:.3g} --data-dir FOLDER")


def measure_command(asked: MeasureOptions) -> None:
    """Measures networks side by side: ONNX files, the networks of finished runs, or of plans.

    Of a folder that sparsify left, its baseline too.
    """
    check_device_name(asked.device or DEFAULT_DEVICE)
    kwargs = parse_model_kwargs(asked.model_kwargs, asked.img_size)
    check_here(*asked.networks)
    from depthfinder.measuring import notes_on, programs_of
    from depthfinder.tables import measured_table, show
    from latency.devices import open_device
    from latency.evidence import Evidence
    from latency.timing import time_interleaved

    device = open_device(asked.device or DEFAULT_DEVICE, asked.mode)
    batch_size = asked.batch_size or 1
    programs = programs_of(asked.networks, device, batch_size, asked.model, kwargs)
    for note in notes_on(asked.networks):
        print(note, file=sys.stderr)
    watch = Watch()
    with watch.signals(), watch.stage("measure"):
        one_thread = device.one_thread
        timings = time_interleaved(programs, seconds=asked.seconds, seed=0, one_thread=one_thread, progress=watch)
    setting = device.setting(batch_size)
    first = next(iter(programs))
    found = {name: Evidence.of(timings, name, first) for name in programs}
    if asked.as_json:
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


def devices_command(asked: PrintOptions) -> None:
    """Lists the devices that are known, whether each is here, and if not why."""
    from depthfinder.tables import devices_table, show
    from latency.devices import DEVICES

    found = {name: device.absence() for name, device in DEVICES.items()}
    if asked.as_json:
        print(
            json.dumps([{"device": name, "here": why is None, "why_not": why} for name, why in found.items()], indent=1)
        )
        return
    show(devices_table({name: (DEVICES[name], why) for name, why in found.items()}))


def list_command(output: _RootOption = DEFAULT_OUTPUT, as_json: _JsonOption = False) -> None:
    """Lists the profiles made here, and the tables that come with the package."""
    from depthfinder.tables import profiles_table, show
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
    from depthfinder.tables import profile_table, show
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
    from depthfinder.tables import difference_table, show
    from profiles.difference import difference
    from profiles.store import load_profile

    found = difference(load_profile(before), load_profile(after))
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=1))
        return
    show(difference_table(found))
    print(found.verdict)


def with_newest_profile(asked: "RunOptions") -> "RunOptions":
    """What was asked for, with the model and the setting of the newest profile where it names no model; of a device, or
    of those that have a budget, where some are named. How many classes the model has is for the images to say, where a
    data set is named."""
    from profiles.names import below
    from profiles.store import newest_profile

    if asked.model is not None:
        return asked
    known = newest_profile(below(asked.output, "profiles"), _named_devices(asked))
    if known is None:
        return asked
    path, found = known
    setting, kwargs = found.setting, dict(found.model_kwargs)
    if asked.data_dir is not None or asked.dataset not in (None, "digits"):
        kwargs.pop("num_classes", None)
    print(
        f"no --model given: taking {found.model} on {setting.device}, from the {found.origin} table {path} of "
        f"{found.created}",
        file=sys.stderr,
    )
    return dataclasses.replace(
        asked,
        model=found.model,
        model_kwargs=format_model_kwargs(kwargs) + (asked.model_kwargs or []),
        device=asked.device or setting.device,
        threads=asked.threads or setting.threads,
        dtype=asked.dtype or cast("Dtype", setting.dtype),
        channels_last=asked.channels_last or setting.channels_last,
        compiled=asked.compiled or setting.compiled,
        batch_size=asked.batch_size or setting.batch_size,
    )


def _named_devices(asked: "RunOptions") -> list[str]:
    """The devices that were named, by themselves or with their budgets."""
    if asked.device is not None:
        return [asked.device]
    parts = (asked.budget_ms or "").split(",")
    return [name.strip() for name, equals, _ in (part.partition("=") for part in parts) if equals]
