"""The root of all errors of ours, and what can be wrong with a profile.

The whole tree is drawn in `depthfinder/errors.py`.
"""

from typing import ClassVar


class DepthfinderError(Exception):
    """Something that whoever sees it can do something about: it names the cause, and the next step where there is one.

    `exit_status` is what a command ends with: 1 it failed, 2 it was asked for what cannot be done, 3 something that it
    was asked for is not here, 4 the budget cannot be met, 0 there was nothing to do.
    """

    exit_status: ClassVar[int] = 1


class UsageError(DepthfinderError):
    """What was asked for does not exist, or does not go together."""

    exit_status = 2


class NotHereError(DepthfinderError):
    """A model, a device, a file or a library that was asked for is not here, or not whole."""

    exit_status = 3


class ProfileError(DepthfinderError, ValueError):
    """A profile that cannot be read or must not be used here."""


class FileNameError(UsageError, ValueError):
    """A name under which nothing can be kept, or a link that leads out of where things are kept."""
