"""What is said of a setting beside its type, its default and its check; and how the records of settings are checked.

    lr: Annotated[float, Option("Peak learning rate."), Field(gt=0)] = 5e-4

The records are dataclasses that pydantic checks whenever one is made, and flags are made of what stands in them: so
there is one check for what was typed, read from a file, or given in Python.
"""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import ConfigDict

CHECKED: Final = ConfigDict(extra="forbid", allow_inf_nan=False)
"""How pydantic checks a record: no unknown names, no infinities, no NaN."""


@dataclass(frozen=True)
class Option:
    """What is said of one setting.

    Args:
        help: One sentence, for `--help`.
        flags: How it is typed, where that is not the field's name.
        typed_as: What the command line takes, where that is not what the record holds.
        panel: The heading that `--help` has it under, where that is not its record's.
        is_first: Whether a newcomer needs it: the others wait for `--help-all`.
        is_switch: Whether it can only be turned on, because no file of settings has it.
        is_argument: Whether it is typed by its place and not by a flag.
        changes_nothing: Whether it decides how fast a run goes, when it is cut off and how much is told of it, but not
            what it finds.
        default_text: What stands for its default in the help, where that is decided when all else is known.
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
