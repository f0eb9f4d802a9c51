"""The settings that records declare: found, filled from plain values, and taken apart again."""

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
        name: what it is called: its flag, with underscores.
        field: what the record calls it.
        type: what the record holds, without what is said about it.
        default: what it is when nobody says; `dataclasses.MISSING` where somebody has to.
        option: what is said of it.
        checks: what else stands beside the type: bounds, and functions of pydantic's.
        panel: the heading that `--help` has it under.
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
        """How it is typed."""
        return f"--{self.name.replace('_', '-')}"


def declared_in(*records: type) -> Iterator[Declared]:
    """The settings of records, and of the records that they hold, in the order of their declaration."""
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
    """The settings that a record declares itself, and those of the records that it holds; not those of the records that
    it inherits from, and none that changes nothing of what is found."""
    fields = inspect.get_annotations(record)
    held = [hint for name, hint in get_type_hints(record).items() if name in fields and dataclasses.is_dataclass(hint)]
    inner = {one.name for other in held for one in declared_in(other)}  # type: ignore[arg-type]
    return tuple(
        one.name
        for one in declared_in(record)
        if (one.field in fields or one.name in inner) and not one.option.changes_nothing
    )


def made(record: type[Record], values: Mapping[str, Any]) -> Record:
    """A record, and those that it holds, of what `values` says by the settings' names; of the rest, the defaults.

    Args:
        record: Its class.
        values: Setting -> value. What belongs to other records is left alone.

    Raises:
        pydantic.ValidationError: for what a check refuses.
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
    """Setting -> value, for a record and those that it holds."""
    names = {one.field: one.name for one in declared_in(type(record))}
    found: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        found |= flat(value) if dataclasses.is_dataclass(value) else {names[field.name]: value}
    return found


def with_changes(record: Record, **changes: Any) -> Record:
    """The record with some settings, of its own or of those that it holds, changed, and checked anew.

    Raises:
        AttributeError: for what is no setting of it.
    """
    unknown = sorted(changes.keys() - {one.name for one in declared_in(type(record))})
    if unknown:
        raise AttributeError(f"{type(record).__name__} has no setting {', '.join(unknown)}")
    return made(type(record), flat(record) | changes)
