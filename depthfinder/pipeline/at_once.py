"""What is wrong with the words that were typed, names and files that are not here, is said before torch is loaded.

What can be told from a network, an image or a library alone is told by those who load it.
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
    """What `run`, `search` and `pareto` were asked for; `storage` as it was typed.

    Raises `SettingsError`, `UnknownSamplerError`, `UnknownDeviceError`, `StorageError`, and of files that are not here
    `CheckpointError`, `ProfileError` and `DataError`.
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
    """Raises `FileNotFoundError` for the first that is not here, and says what it should have been."""
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"there is no {what}{path}{nearest_to(path)}")


def check_inputs(asked: DataConfig, *checkpoints: str | None) -> None:
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
