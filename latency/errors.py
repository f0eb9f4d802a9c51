"""What can be wrong with a device, a table of timings, a kit or an export."""

from profiles.errors import DepthfinderError, NotHereError, UsageError


class KitError(DepthfinderError, RuntimeError):
    """A kit cannot be made, or read."""


class ExportError(DepthfinderError, RuntimeError):
    """The exported network does not compute what the network does."""


class PredictorError(DepthfinderError, ValueError):
    """A predictor that cannot be fitted or asked, or a file that is none."""


class RowsError(DepthfinderError, ValueError):
    """A table of operators that cannot be read."""


class UnknownDeviceError(NotHereError, LookupError):
    """No device goes by that name."""


class DeviceMissingError(NotHereError, RuntimeError):
    """The device is known, but it is not here."""


class UnsupportedModeError(UsageError, ValueError):
    """The device cannot run networks in the way that was asked for."""
