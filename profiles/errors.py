"""The root of all errors of Depthfinder, and the errors of profiles.

The whole tree is drawn in `depthfinder/errors.py`.
"""

from typing import ClassVar


class DepthfinderError(Exception):
    """An error that its reader can act on: the message names the cause, and the next step where there is one.

    Attributes:
        exit_status: The status that a command ends with. 1: it failed; 2: the request cannot be carried out; 3:
            something that was asked for is not here; 4: the budget cannot be met; 0: there was nothing to do.
    """

    exit_status: ClassVar[int] = 1


class UsageError(DepthfinderError):
    """The request names something that does not exist, or asks for things that do not go together."""

    exit_status = 2


class NotHereError(DepthfinderError):
    """A model, a device, a file or a library that was asked for is not here, or not whole."""

    exit_status = 3


class ProfileError(DepthfinderError, ValueError):
    """A profile cannot be read, or must not be used here."""


class FileNameError(UsageError, ValueError):
    """A name cannot be the name of a file, or a link leads out of the folder where things are kept."""
