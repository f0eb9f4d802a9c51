"""What can be wrong with a model, a plan or a data set that was asked for."""


class PlanError(ValueError):
    """A plan that cannot be read, or does not fit the network it is applied to."""


class UnknownModelError(LookupError):
    """No such model, or one in which no family of blocks is recognised."""


class OddModelError(UnknownModelError):
    """A network that computes something else than its classes say, where that could not be kept."""


class FitError(ValueError):
    """No layer can be fitted in a block's place: too few images, or a network that gives no numbers."""


class CheckpointError(ValueError):
    """Weights that cannot be read, or do not fit the model."""


class DataError(LookupError):
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
