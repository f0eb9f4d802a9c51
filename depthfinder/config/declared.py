"""Finds the settings that records declare, makes records from plain values, and turns records into such values."""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from profiles.option import Option

Record = TypeVar("Record")
_OTHERS = "Others"


@dataclass(frozen=True)
class Declared:
    """A setting as its record declares it.

    Attributes:
        name: The name of the setting: its flag, with underscores.
        field: The name of the record's field.
        type: The type of the value, without its annotations.
        default: The value when none is given; `dataclasses.MISSING` where one has to be given.
        option: The help of the setting, and how it is typed.
        checks: The other annotations of the type: bounds, and validators of pydantic.
        panel: The heading that `--help` lists it under.
    """

    name: str
    field: str
    type: Any
    default: Any
    option: Option
    checks: tuple[Any, ...]
    panel: str

    @property
    def flag(self) -> str:
        """The flag on the command line, such as `--batch-size`."""
        return f"--{self.name.replace('_', '-')}"


def declared_in(*records: type) -> Iterator[Declared]:
    """Yields the settings of records, and of the records that they hold, in the order of their declaration.

    Example:
        >>> from depthfinder.config.measure import TableConfig
        >>> [one.flag for one in declared_in(TableConfig)][-1]
        '--max-seconds'
    """
    for record in records:
        panel = getattr(record, "PANEL", _OTHERS)
        hints = get_type_hints(record, include_extras=True)
        for field in dataclasses.fields(record):
            hint = hints[field.name]
            if dataclasses.is_dataclass(hint):
                inner = declared_in(hint)  # type: ignore[arg-type]
                yield from (dataclasses.replace(one, panel=panel) if one.panel == _OTHERS else one for one in inner)
                continue
            assert get_origin(hint) is Annotated, f"{record.__name__}.{field.name} has no help"
            kind, *about = get_args(hint)
            (option,) = (one for one in about if isinstance(one, Option))
            checks = tuple(one for one in about if one is not option)
            named = next((flag for flag in option.flags if flag.startswith("--")), field.name)
            name = named.removeprefix("--").replace("-", "_")
            factory = field.default_factory
            default = field.default if factory is dataclasses.MISSING else factory()
            yield Declared(name, field.name, kind, default, option, checks, option.panel or panel)


def own_names(record: type) -> tuple[str, ...]:
    """Returns the settings that a record declares itself, and those of the records that it holds.

    Settings that it inherits are left out, and so are those that do not change the result of a run.
    """
    fields = inspect.get_annotations(record)
    held = [hint for name, hint in get_type_hints(record).items() if name in fields and dataclasses.is_dataclass(hint)]
    inner = {one.name for other in held for one in declared_in(other)}  # type: ignore[arg-type]
    return tuple(
        one.name
        for one in declared_in(record)
        if (one.field in fields or one.name in inner) and not one.option.changes_nothing
    )


def made(record: type[Record], values: Mapping[str, Any]) -> Record:
    """Makes a record, and those that it holds, of values by the settings' names; the others have their defaults.

    Args:
        record: The class of the record.
        values: Setting -> value. Settings of other records are ignored.

    Raises:
        pydantic.ValidationError: for a value that a check refuses.

    Example:
        >>> from depthfinder.config.measure import DeviceConfig
        >>> made(DeviceConfig, {"device": "mi100", "threads": 4, "seed": 1}).mode.threads
        4
    """
    hints = get_type_hints(record)
    names = {one.field: one.name for one in declared_in(record)}
    found: dict[str, Any] = {}
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        if dataclasses.is_dataclass(hints[field.name]):
            found[field.name] = made(hints[field.name], values)
        elif names[field.name] in values:
            found[field.name] = values[names[field.name]]
    return record(**found)


def flat(record: Any) -> dict[str, Any]:
    """Returns setting -> value, for a record and those that it holds.

    Example:
        >>> from depthfinder.config.run import Seeded
        >>> flat(Seeded(seed=3))
        {'seed': 3}
    """
    names = {one.field: one.name for one in declared_in(type(record))}
    found: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        found |= flat(value) if dataclasses.is_dataclass(value) else {names[field.name]: value}
    return found


def with_changes(record: Record, **changes: Any) -> Record:
    """Returns the record with some settings changed, its own or those of records that it holds; all are checked anew.

    Raises:
        AttributeError: for a name that is no setting of the record.
        pydantic.ValidationError: for a value that a check refuses.
    """
    unknown = sorted(changes.keys() - {one.name for one in declared_in(type(record))})
    if unknown:
        raise AttributeError(f"{type(record).__name__} has no setting {', '.join(unknown)}")
    return made(type(record), flat(record) | changes)
