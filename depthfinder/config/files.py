"""Settings in files: `args.yaml`, which a run leaves and a recipe is, by the names that the flags have."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import ValidationError

from depthfinder.config.declared import Declared, declared_in, flat, made
from profiles.files import write_whole
from pruner.errors import SettingsError

Record = TypeVar("Record")

# What settings were called before, and what was meant where a file of then does not name them.
_FORMER_NAMES: Final = {"compiled": "torchcompile"}
_MEANT_BEFORE: Final = {"scored_by": "supernet"}


def read_table(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Setting -> value, as a file has them that names no others.

    Args:
        path: A file of YAML.
        names: The settings that it may name.

    Raises:
        FileNotFoundError: when there is no such file.
        SettingsError: when it is no table, or names what is no setting: the nearest that is one is named then.
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


def _with_nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.replace("-", "_"), list(known), n=1)
    return f"{name} (nearest: {near[0]})" if near else name


def read_settings(record: type[Record], path: Path) -> Record:
    """The record that `write_settings` wrote. Raises as `read_table` does, and `SettingsError` for wrong values."""
    values = _MEANT_BEFORE | read_table(path, (one.name for one in declared_in(record)))
    try:
        return checked(record, values)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def write_settings(record: Any, path: Path) -> None:
    """Writes all settings of a record, and of those that it holds."""
    write_whole(path, yaml.safe_dump(_plain(flat(record)), sort_keys=False))


def checked(record: type[Record], values: Mapping[str, Any]) -> Record:
    """A record of settings as they were typed or read. Raises `SettingsError`, which names the flag."""
    try:
        return made(record, values)
    except ValidationError as error:
        raise SettingsError(_in_words(error, {one.field: one for one in declared_in(record)})) from error


def _in_words(error: ValidationError, settings: Mapping[str, Declared]) -> str:
    """The first thing that is wrong, and the flag that it was typed with."""
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
    """YAML's own kinds: lists for tuples, tables for mappings."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    return value
