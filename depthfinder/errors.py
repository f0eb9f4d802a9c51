"""Every error of ours, for whoever catches them, and what a command ends with.

    DepthfinderError                exit status 1
    |-- UsageError                  2
    |   |-- DifferentRunError
    |   |-- FileNameError           a ValueError
    |   |-- SettingsError           a ValueError
    |   |   `-- UnknownMethodError
    |   |-- StudyMismatchError
    |   |-- TooManyPlansError       a ValueError
    |   |-- UnknownSamplerError     a ValueError
    |   `-- UnsupportedModeError    a ValueError
    |-- NotHereError                3
    |   |-- CheckpointError         a ValueError
    |   |-- DashboardMissingError
    |   |-- DataError               a LookupError
    |   |   `-- BadImageError
    |   |-- DeviceMissingError      a RuntimeError
    |   |-- FolderError             a FileNotFoundError
    |   |-- StorageError
    |   |-- TensorBoardMissingError
    |   |-- UnknownDeviceError      a LookupError
    |   `-- UnknownModelError       a LookupError
    |       `-- OddModelError
    |-- BudgetUnreachableError      4
    |-- ExportError                 a RuntimeError
    |-- FitError                    a ValueError
    |-- FoldError                   a ValueError
    |-- KitError                    a RuntimeError
    |-- NothingFoundError           a LookupError
    |-- NothingToPruneError         0
    |-- PeerLostError               a RuntimeError
    |-- PlanError                   a ValueError
    |-- PortTakenError
    |-- PredictorError              a ValueError
    |-- ProfileError                a ValueError
    |-- ReviewError                 a ValueError
    |-- RowsError                   a ValueError
    |-- ScoreError                  a ValueError
    `-- TrainingError               a RuntimeError

Nothing heavy is imported here, so that what is wrong with one word is said at once.
"""

from latency.errors import (
    DeviceMissingError,
    ExportError,
    KitError,
    PredictorError,
    RowsError,
    UnknownDeviceError,
    UnsupportedModeError,
)
from profiles.errors import (
    DepthfinderError,
    FileNameError,
    NotHereError,
    ProfileError,
    UsageError,
)
from pruner.errors import (
    BadImageError,
    CheckpointError,
    DataError,
    FitError,
    FoldError,
    OddModelError,
    PeerLostError,
    PlanError,
    SettingsError,
    TrainingError,
    UnknownMethodError,
    UnknownModelError,
)
from search.errors import (
    BudgetUnreachableError,
    DashboardMissingError,
    NothingFoundError,
    PortTakenError,
    ReviewError,
    ScoreError,
    StorageError,
    StudyMismatchError,
    TooManyPlansError,
    UnknownSamplerError,
)

__all__ = [
    "BadImageError",
    "BudgetUnreachableError",
    "CheckpointError",
    "DashboardMissingError",
    "DataError",
    "DepthfinderError",
    "DeviceMissingError",
    "DifferentRunError",
    "ExportError",
    "FileNameError",
    "FitError",
    "FoldError",
    "FolderError",
    "KitError",
    "NotHereError",
    "NothingFoundError",
    "NothingToPruneError",
    "OddModelError",
    "PeerLostError",
    "PlanError",
    "PortTakenError",
    "PredictorError",
    "ProfileError",
    "ReviewError",
    "RowsError",
    "ScoreError",
    "SettingsError",
    "StorageError",
    "StudyMismatchError",
    "TensorBoardMissingError",
    "TooManyPlansError",
    "TrainingError",
    "UnknownDeviceError",
    "UnknownMethodError",
    "UnknownModelError",
    "UnknownSamplerError",
    "UnsupportedModeError",
    "UsageError",
    "exit_status",
]


class TensorBoardMissingError(NotHereError):
    """TensorBoard is not installed."""


class FolderError(NotHereError, FileNotFoundError):
    """A folder does not hold what a command needs of it, or a file in it is damaged."""


class NothingToPruneError(DepthfinderError):
    """The baseline is within the budget as it is."""

    exit_status = 0


class DifferentRunError(UsageError):
    """The run folder belongs to a run that was asked for something else."""


def exit_status(error: Exception) -> int | None:
    """Returns the status that a command ends with by this error; None for an error that is a bug.

    Example:
        >>> exit_status(FolderError("there is no such folder")), exit_status(KeyError("blocks.0.mlp"))
        (3, None)
    """
    if isinstance(error, DepthfinderError):
        return error.exit_status
    return NotHereError.exit_status if isinstance(error, FileNotFoundError) else None
