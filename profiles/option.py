"""What the command line says of a setting, beside the setting's type, default and check.

    lr: Annotated[float, Option("Peak learning rate."), Field(gt=0)] = 5e-4

The records of settings are dataclasses that pydantic checks whenever one is made, and flags are made from their
fields. So there is one check for what was typed, read from a file, or given in Python.
"""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import ConfigDict

CHECKED: Final = ConfigDict(extra="forbid", allow_inf_nan=False)
"""How pydantic checks a record: no unknown names, no infinities, no NaN."""


@dataclass(frozen=True)
class Option:
    """The description of one setting.

    Args:
        help: One sentence, for `--help`.
        flags: The flags of the setting, where they are not made from the field's name.
        typed_as: The type that the command line takes, where it is not that of the field.
        panel: The heading in `--help`, where it is not that of the setting's record.
        is_first: Whether newcomers need the setting: the others are shown by `--help-all` only.
        is_switch: Whether it can only be turned on, because no file of settings has it.
        is_argument: Whether it is typed by its place and not by a flag.
        changes_nothing: Whether it leaves what a run finds unchanged: it decides how fast the run goes, when it is cut
            off, or how much is told of it.
        default_text: The default as the help shows it, where it is decided only when all else is known.
    """

    help: str
    flags: tuple[str, ...] = ()
    typed_as: Any = None
    panel: str | None = None
    is_first: bool = False
    is_switch: bool = False
    is_argument: bool = False
    changes_nothing: bool = False
    default_text: str | None = None
