"""What can be wrong with a model, a plan, a data set or a training that was asked for."""

from profiles.errors import DepthfinderError, NotHereError, UsageError


class PlanError(DepthfinderError, ValueError):
    """A plan that cannot be read, or does not fit the network it is applied to."""


class UnknownModelError(NotHereError, LookupError):
    """No such model, or one in which no family of blocks is recognised."""


class OddModelError(UnknownModelError):
    """A network that computes something else than its classes say, where that could not be kept."""


class FitError(DepthfinderError, ValueError):
    """No layer can be fitted in a block's place: too few images, or a network that gives no numbers."""


class CheckpointError(NotHereError, ValueError):
    """Weights that cannot be read, or do not fit the model."""


class DataError(NotHereError, LookupError):
    """A data set that is not here or cannot be used."""


class BadImageError(DataError):
    """A file, or a sample of a data set, that is no image: `place` says which, `reason` why."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.place} cannot be read as an image: {self.reason}; mend or remove it, "
            "or leave such images out with --skip-bad-images"
        )


class TrainingError(DepthfinderError, RuntimeError):
    """The loss is no number any more."""


class PeerLostError(DepthfinderError, RuntimeError):
    """Another of the processes that train together is gone."""


class SettingsError(UsageError, ValueError):
    """A setting of a training that there is not, or that does not go with another."""


class FoldError(DepthfinderError, ValueError):
    """Two maps do not compose or add to one convolution."""


class UnknownMethodError(SettingsError):
    """No method goes by that name."""
