"""The errors of models, plans, data sets and training."""

from profiles.errors import DepthfinderError, NotHereError, UsageError


class PlanError(DepthfinderError, ValueError):
    """A plan that cannot be read, or does not fit the network it is applied to."""


class UnknownModelError(NotHereError, LookupError):
    """There is no model of that name, or no family recognises the network, or none of its blocks can be cut."""


class OddModelError(UnknownModelError):
    """A network that was changed from outside in a way that opening or copying it would lose."""


class FitError(DepthfinderError, ValueError):
    """No layer can be fitted in a block's place: too few images, or a network that gives no numbers."""


class CheckpointError(NotHereError, ValueError):
    """Weights that cannot be read, or do not fit the model."""


class DataError(NotHereError, LookupError):
    """A data set that is not here or cannot be used."""


class BadImageError(DataError):
    """A file, or a sample of a data set, that cannot be read as an image.

    Attributes:
        place: The path of the file, or the place of the sample in the data set.
        reason: Why it cannot be read.
    """

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
    """The loss of a training is not a finite number."""


class PeerLostError(DepthfinderError, RuntimeError):
    """Another one of the processes that train together has ended."""


class SettingsError(UsageError, ValueError):
    """A setting of a training that does not exist, or that cannot be combined with another one."""


class FoldError(DepthfinderError, ValueError):
    """Layers or maps that cannot be folded into one convolution or one linear layer."""


class UnknownMethodError(SettingsError):
    """There is no method of that name."""
