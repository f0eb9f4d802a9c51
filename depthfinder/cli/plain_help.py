"""Prints help as it was written: square brackets in it are text, not a colour or a style of rich."""

from collections.abc import Callable
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType


def _as_written(command: Any) -> None:
    """Escapes the texts of a command in place, because typer hands them to rich as markup."""
    for owner in (command, *command.params):
        for name in ("help", "short_help", "epilog"):
            text = getattr(owner, name, None)
            if text is not None:
                setattr(owner, name, escape(text))


class PlainCommand(TyperCommand):
    """A command whose help is printed as it was written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _as_written(self)


class PlainGroup(TyperGroup):
    """A group of commands whose help is printed as it was written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _as_written(self)


class Application(typer.Typer):
    """An application whose help, and that of all its commands, is printed as it was written."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(cls=PlainGroup, **kwargs)

    def command(self, name: str | None = None, **kwargs: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Returns a decorator that adds a function as a command of this name."""
        return super().command(name, cls=PlainCommand, **kwargs)
