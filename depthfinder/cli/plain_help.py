"""Help that is printed as it was written: what stands in square brackets in it is a text, and no colour or style."""

from collections.abc import Callable
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType


def _as_written(command: Any) -> None:
    """Shields the texts of a command, which typer hands to rich as markup, in place."""
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
    """The same of several commands."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _as_written(self)


class Application(typer.Typer):
    """An application all of whose help is printed as it was written."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(cls=PlainGroup, **kwargs)

    def command(self, name: str | None = None, **kwargs: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        return super().command(name, cls=PlainCommand, **kwargs)
