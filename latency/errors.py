"""The errors of devices, predictors, tables of operators, kits and exports."""

from profiles.errors import DepthfinderError, NotHereError, UsageError


class KitError(DepthfinderError, RuntimeError):
    """A kit cannot be made."""


class ExportError(DepthfinderError, RuntimeError):
    """The exported network does not compute what the original network does."""


class PredictorError(DepthfinderError, ValueError):
    """A predictor cannot be fitted or used, or a file holds no predictor."""


class RowsError(DepthfinderError, ValueError):
    """A table of operators cannot be read."""


class UnknownDeviceError(NotHereError, LookupError):
    """There is no device of that name."""


class DeviceMissingError(NotHereError, RuntimeError):
    """The device is known, but it is not on this machine."""


class UnsupportedModeError(UsageError, ValueError):
    """The device cannot run networks in the mode that was asked for."""
