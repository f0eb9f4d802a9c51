"""Settings in files: the `args.yaml` of a run, and recipes. Settings have the names of their flags."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import ValidationError

from depthfinder.config.declared import Declared, declared_in, flat, made
from profiles.files import write_whole
from profiles.registry import nearest_first
from pruner.errors import SettingsError

Record = TypeVar("Record")

# The former names of settings, and the values of settings that files of former versions do not name.
_FORMER_NAMES: Final = {"compiled": "torchcompile"}
_MEANT_BEFORE: Final = {"scored_by": "supernet"}


def read_table(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Reads setting -> value from a file that names no unknown settings.

    Args:
        path: A file of YAML.
        names: The settings that it may name.

    Raises:
        FileNotFoundError: when there is no such file.
        SettingsError: when the file holds no table, or names an unknown setting; the error names the nearest known one.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds no table of options")
    found = {_FORMER_NAMES.get(str(name), str(name)): value for name, value in values.items()}
    known = set(names)
    unknown = [_with_nearest(name, known) for name in sorted(found.keys() - known)]
    if unknown:
        raise SettingsError(f"{path} names options that this command has not: {', '.join(unknown)}")
    return found


def check_names(given: Iterable[str], *records: type) -> None:
    """Checks that every given name is a setting of one of the records.

    Raises:
        SettingsError: for an unknown name, with the nearest known one.

    Example:
        >>> from depthfinder.config.data import DataConfig
        >>> check_names(["data_directory"], DataConfig)
        Traceback (most recent call last):
        pruner.errors.SettingsError: no setting is called 'data_directory'; nearest: data_dir
    """
    known = sorted({one.name for one in declared_in(*records)})
    for name in given:
        if name not in known:
            raise SettingsError(f"no setting is called {name!r}; nearest: {nearest_first(name, known)[0]}")


def _with_nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.replace("-", "_"), list(known), n=1)
    return f"{name} (nearest: {near[0]})" if near else name


def read_settings(record: type[Record], path: Path) -> Record:
    """Reads the record that `write_settings` wrote.

    Raises:
        FileNotFoundError: when there is no such file.
        SettingsError: when the file holds no table, or has an unknown setting or a value that is refused.
    """
    values = _MEANT_BEFORE | read_table(path, (one.name for one in declared_in(record)))
    try:
        return checked(record, values)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def write_settings(record: Any, path: Path) -> None:
    """Writes all settings of a record, and of those that it holds."""
    write_whole(path, yaml.safe_dump(_plain(flat(record)), sort_keys=False))


def checked(record: type[Record], values: Mapping[str, Any]) -> Record:
    """Makes a record of settings that were typed or read from a file.

    Args:
        record: The class of the record.
        values: Setting -> value. Settings of other records are ignored.

    Raises:
        SettingsError: for a value that is refused; the error names the flag.

    Example:
        >>> from depthfinder.config.measure import DeviceConfig
        >>> checked(DeviceConfig, {"batch_size": 0})
        Traceback (most recent call last):
        pruner.errors.SettingsError: --batch-size: 0: input should be greater than or equal to 1
    """
    try:
        return made(record, values)
    except ValidationError as error:
        raise SettingsError(_in_words(error, {one.field: one for one in declared_in(record)})) from error


def _in_words(error: ValidationError, settings: Mapping[str, Declared]) -> str:
    """The first error in words, behind the flag of its setting."""
    found = error.errors(include_url=False)[0]
    place = next((settings[str(part)].flag for part in found["loc"] if str(part) in settings), None)
    given, limits = found["input"], found.get("ctx", {})
    if found["type"] == "value_error":
        text = str(limits["error"])
    elif found["type"] == "greater_than" and limits["gt"] == 0:
        text = f"{given} is not a positive number"
    elif found["type"] == "finite_number":
        text = f"{given} is not a finite number"
    else:
        text = f"{given!r}: {found['msg'][0].lower()}{found['msg'][1:]}"
    return text if place is None else f"{place}: {text}"


def _plain(value: Any) -> Any:
    """The value in YAML's own types: lists for tuples, tables for mappings."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    return value
