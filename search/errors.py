"""The errors of a search, of its study and of its review."""

from profiles.errors import DepthfinderError, NotHereError, UsageError


class PortTakenError(DepthfinderError):
    """The port for the dashboard cannot be opened, as a rule because something else listens there."""


class DashboardMissingError(NotHereError):
    """optuna-dashboard is not installed."""


class StudyMismatchError(UsageError):
    """The study exists, but it belongs to a search for something else."""


class ReviewError(DepthfinderError, ValueError):
    """The evaluated plans contradict each other, so that no true picture of the search can be drawn."""


class UnknownSamplerError(UsageError, ValueError):
    """No sampler has that name."""


class BudgetUnreachableError(DepthfinderError):
    """No plan fits the budget; the message names the latency of the fastest one."""

    exit_status = 4


class NothingFoundError(DepthfinderError, LookupError):
    """A search ended without a plan to take."""


class ScoreError(DepthfinderError, ValueError):
    """An evaluation returned what is not a score."""


class StorageError(NotHereError):
    """The storage of a study cannot be used; the message is one line with the cause and the next step, without a
    password."""


class TooManyPlansError(UsageError, ValueError):
    """There are too many plans to evaluate them all."""
