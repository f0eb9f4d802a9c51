"""Checks settings before torch is loaded: names that are not known, and files that are not here.

What only a network, an image or a library can tell is checked where these are loaded.
"""

import difflib
from pathlib import Path

from depthfinder.config.data import DataConfig
from depthfinder.config.run import RunConfig
from depthfinder.strategies import known_strategy
from latency.device_names import check_device_name
from profiles.errors import ProfileError
from pruner.errors import CheckpointError, DataError, SettingsError
from search.storage.url import normalised


def check_run(asked: RunConfig, storage: str | None) -> None:
    """Checks the settings of `run`, `search` and `pareto`.

    Args:
        asked: The settings.
        storage: The URL of the study's storage as it was typed; None where none was.

    Raises:
        SettingsError: when the strategy is not known, or its plans are not scored in the way that was asked for.
        UnknownSamplerError: when the sampler is not known.
        UnknownDeviceError: when a device is not known.
        StorageError: when the storage is no URL of a known kind.
        CheckpointError: when a file of weights is not here.
        ProfileError: when the latency table is not here.
        DataError: when the folder of images is not here.
    """
    for device in (asked.measure.device, *asked.measure.budgets_ms):
        check_device_name(device)
    strategy, scored_by = known_strategy(asked.search.strategy), asked.search.scored_by
    if scored_by not in strategy.scored_by:
        raise SettingsError(
            f"--strategy {strategy.name} has its plans scored by {' or '.join(strategy.scored_by)}: leave "
            f"--scored-by {scored_by} out, or the strategy"
        )
    if storage is not None:
        normalised(storage)
    teacher = asked.train.kd_checkpoint if asked.train.kd_model_name else None
    check_inputs(asked.data, asked.network.checkpoint, teacher)
    table = asked.measure.profile
    if table is not None and not Path(table).exists():
        raise ProfileError(f"there is no profile {table}{nearest_to(Path(table))}")
    from search.samplers import known_sampler

    known_sampler(asked.search.sampler)


def check_here(*paths: Path, what: str = "") -> None:
    """Checks that files and folders are here.

    Args:
        paths: The files and folders.
        what: The kind of file for the error, with a blank behind it, such as "profile ".

    Raises:
        FileNotFoundError: for the first that is not here, with names beside it that are much like its own.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"there is no {what}{path}{nearest_to(path)}")


def check_inputs(asked: DataConfig, *checkpoints: str | None) -> None:
    """Checks that files of weights and the folder of images are here.

    Raises:
        CheckpointError: for a file of weights that is not here.
        DataError: for a folder of images that is not here.
    """
    for checkpoint in checkpoints:
        if checkpoint is not None and not Path(checkpoint).exists():
            raise CheckpointError(f"there is no file {checkpoint}{nearest_to(Path(checkpoint))}")
    if asked.dataset in ("", "folder") and asked.data_dir is not None and not Path(asked.data_dir).is_dir():
        raise DataError(f"there is no folder {asked.data_dir}{nearest_to(Path(asked.data_dir))}")


def nearest_to(path: Path) -> str:
    """Returns the end of a sentence that names files beside `path` with much the same name; empty without any."""
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=3, cutoff=0.5)
    return f"; nearest in {path.parent}: {', '.join(near)}" if near else ""
