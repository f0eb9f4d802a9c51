"""What can be wrong with a search, its study or its review."""

from profiles.errors import DepthfinderError, NotHereError, UsageError


class PortTakenError(DepthfinderError):
    """Something else listens there."""


class DashboardMissingError(NotHereError):
    """optuna-dashboard is not installed."""


class StudyMismatchError(UsageError):
    """The study is there, and it is a search for something else."""


class ReviewError(DepthfinderError, ValueError):
    """The plans contradict each other, so that no true picture of the search can be drawn from them."""


class UnknownSamplerError(UsageError, ValueError):
    """No sampler goes by that name."""


class BudgetUnreachableError(DepthfinderError):
    """No plan fits the budget: names the fastest one's latency."""

    exit_status = 4


class NothingFoundError(DepthfinderError, LookupError):
    """A search ended without a plan to take."""


class ScoreError(DepthfinderError, ValueError):
    """What an evaluation came to is no score."""


class StorageError(NotHereError):
    """A study's storage that cannot be used: one line with the cause and the next step, without any password."""


class TooManyPlansError(UsageError, ValueError):
    """There are more plans than anybody could evaluate."""
