"""What is wrong with the words that were typed, names and files that are not here, is said before torch is loaded.

What can be told from a network, an image or a library alone is told by those who load it.
"""

import difflib
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from depthfinder.arguments import RunArguments
from depthfinder.data_arguments import DataArguments
from depthfinder.training_arguments import (
    GATE_FORM_NAMES,
    LAMBDA_SCHEDULES,
    SCORED_BY,
    STRATEGIES,
    SUPERNET_SAMPLINGS,
)
from latency.device_names import check_device_name
from profiles.errors import ProfileError
from pruner.choices import SHARES
from pruner.errors import CheckpointError, DataError, SettingsError
from search.storage_url import normalised

_TRAIN_DEVICE: Final = re.compile(r"cpu|cuda(:\d+)?")


def check_run(asked: RunArguments, storage: str | None) -> None:
    """What `run`, `search` and `pareto` were asked for; `storage` as it was typed.

    Raises `SettingsError`, `UnknownSamplerError`, `UnknownDeviceError`, `StorageError`, and of files that are not here
    `CheckpointError`, `ProfileError` and `DataError`.
    """
    for device in (asked.device, *asked.budgets_ms):
        check_device_name(device)
    for what, name, known in (
        ("strategy", asked.strategy, STRATEGIES),
        ("way of scoring plans", asked.scored_by, SCORED_BY),
        ("form of the gate", asked.gate_form, GATE_FORM_NAMES),
        ("lambda schedule", asked.lambda_schedule, LAMBDA_SCHEDULES),
        ("way of drawing plans", asked.supernet_sampling, SUPERNET_SAMPLINGS),
    ):
        if name not in known:
            raise SettingsError(f"no {what} is called {name!r}; there are: {', '.join(known)}")
    check_widths(asked.shares)
    if asked.searches_by_fits and asked.strategy == "gate":
        raise SettingsError(
            "--strategy gate learns its gates with a supernet: leave --scored-by fits out, or the strategy"
        )
    if storage is not None:
        normalised(storage)
    check_train_device(asked.train_device)
    check_inputs(asked, asked.checkpoint, asked.kd_checkpoint if asked.kd_model_name else None)
    if asked.profile is not None and not Path(asked.profile).exists():
        raise ProfileError(f"there is no profile {asked.profile}{nearest_to(Path(asked.profile))}")
    from search.samplers import known_sampler

    known_sampler(asked.sampler)


def check_widths(shares: Collection[str]) -> None:
    """Raises `SettingsError` for a width that blocks are not given."""
    for share in shares:
        if share not in SHARES:
            width, *known = (one.removeprefix("narrow-") for one in (share, *SHARES))
            raise SettingsError(f"--widths {width}: there are {', '.join(known)}, and none for none of them")


def check_here(*paths: Path, what: str = "") -> None:
    """Raises `FileNotFoundError` for the first that is not here, and says what it should have been."""
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"there is no {what}{path}{nearest_to(path)}")


def check_train_device(name: str | None) -> None:
    """Raises `SettingsError` for what is neither the processor nor a GPU."""
    if name is not None and not _TRAIN_DEVICE.fullmatch(name):
        raise SettingsError(f"--train-device {name}: there are cpu, cuda, and one of several GPUs, cuda:1")


def check_inputs(asked: DataArguments, *checkpoints: str | None) -> None:
    """Raises `CheckpointError` and `DataError` for files and a folder of images that are not here."""
    for checkpoint in checkpoints:
        if checkpoint is not None and not Path(checkpoint).exists():
            raise CheckpointError(f"there is no file {checkpoint}{nearest_to(Path(checkpoint))}")
    if asked.dataset in ("", "folder") and asked.data_dir is not None and not Path(asked.data_dir).is_dir():
        raise DataError(f"there is no folder {asked.data_dir}{nearest_to(Path(asked.data_dir))}")


def nearest_to(path: Path) -> str:
    """What lies where `path` should, called much like it: the end of a sentence, empty if nothing is."""
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=3, cutoff=0.5)
    return f"; nearest in {path.parent}: {', '.join(near)}" if near else ""
