"""Makes the flags of a command from the records of settings that it takes."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperOption

from depthfinder.config.declared import Declared, declared_in
from pruner.models.names import is_own, trust

Typed: TypeAlias = Mapping[str, Any]
"""Setting -> value, for the flags that were typed; the others have their defaults yet to come."""

_CONTEXT: Final = "context"
_HELP_ALL: Final = "help_all"
_FIRST: Final = "Needed first"
_LAST: Final = "Output"
# A command with more settings shows at first only those that a newcomer needs.
_SHOWN_AT_ONCE: Final = 20


def takes(*records: type, **defaults: Any) -> Callable[[Callable[[Typed], None]], Callable[..., None]]:
    """Returns a decorator that gives a function of typed settings a flag for every setting, so that typer can run it.

    The function is called with setting -> value for the settings that were typed, and for those in `defaults`.

    Args:
        records: The records whose settings the command takes.
        defaults: Setting -> its default at this command, where that differs from the record's.
    """
    found = [dataclasses.replace(one, default=defaults.get(one.name, one.default)) for one in declared_in(*records)]
    settings = sorted(found, key=lambda one: (not one.option.is_first, one.panel == _LAST))

    def decorate(command: Callable[[Typed], None]) -> Callable[..., None]:
        def call(**values: Any) -> None:
            context: typer.Context = values[_CONTEXT]
            typed = {one.name: values[one.field] for one in settings if _was_typed(context, one)}
            if is_own(str(typed.get("model", ""))):
                trust(str(typed["model"]))  # code is run because its name was typed, never because a file names it
            command(defaults | typed)

        parameters = _parameters(settings)
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        call.__doc__ = command.__doc__
        return call

    return decorate


def _was_typed(context: typer.Context, one: Declared) -> bool:
    source = context.get_parameter_source(one.field)
    return one.option.is_argument or (source is not None and source.name != "DEFAULT")


def _parameters(settings: Sequence[Declared]) -> list[inspect.Parameter]:
    """The parameters of a function with a keyword for every setting, as typer reads them."""
    all_shown = len(settings) <= _SHOWN_AT_ONCE
    found = [inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for one in settings:
        about = _annotation(one, hidden=not (all_shown or one.option.is_first))
        found.append(
            inspect.Parameter(one.field, inspect.Parameter.KEYWORD_ONLY, default=_shown(one), annotation=about)
        )
    if not all_shown:
        found.append(inspect.Parameter(_HELP_ALL, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_ShowAll))
    return found


def _show_all(context: typer.Context, asked: bool) -> None:
    """Prints the help with all options, and ends the command."""
    if asked:
        for parameter in context.command.params:
            if isinstance(parameter, TyperOption):
                parameter.hidden = False
        typer.echo(context.get_help())
        raise typer.Exit


_ShowAll = Annotated[
    bool,
    typer.Option("--help-all", is_eager=True, callback=_show_all, help="Show this message with all options."),
]


def _shown(one: Declared) -> Any:
    """The default that the help shows: none where it is described in words, or is empty."""
    if one.default is dataclasses.MISSING:
        return inspect.Parameter.empty
    return None if one.option.default_text is not None or one.default in ((), {}) else one.default


def _annotation(one: Declared, *, hidden: bool) -> Any:
    option, kind = one.option, one.option.typed_as or _without_none(one.type)
    if option.is_argument:
        return Annotated[kind, typer.Argument(help=option.help)]
    about: dict[str, Any] = _bounds(one) | {"hidden": hidden, "help": option.help}
    if option.default_text is not None:
        about["show_default"] = option.default_text
    names = [*(flag for flag in option.flags if not flag.startswith("--")), _on_and_off(one)]
    made = typer.Option(*names, rich_help_panel=_FIRST if option.is_first else one.panel, **about)
    return Annotated[kind if one.default is dataclasses.MISSING else kind | None, made]


def _on_and_off(one: Declared) -> str:
    """`--amp/--no-amp` for a switch that a file of settings may have turned on, `--no-aug/--aug` for one whose own name
    begins with `no-`; for any other setting its flag alone."""
    if one.type is not bool or one.option.is_switch:
        return one.flag
    off = one.flag.replace("--no-", "--") if one.flag.startswith("--no-") else one.flag.replace("--", "--no-", 1)
    return f"{one.flag}/{off}"


def _without_none(kind: Any) -> Any:
    """`float | None` -> float, and all else as it is."""
    if get_origin(kind) not in (Union, UnionType):
        return kind
    (found,) = (one for one in get_args(kind) if one is not NoneType)
    return found


def _bounds(one: Declared) -> dict[str, Any]:
    """The closed bounds of a number, which typer shows in the help; open ones are pydantic's to check."""
    found: dict[str, Any] = {}
    for check in (bound for info in one.checks if isinstance(info, FieldInfo) for bound in info.metadata):
        found |= {"min": check.ge} if hasattr(check, "ge") else {"max": check.le} if hasattr(check, "le") else {}
    return found
