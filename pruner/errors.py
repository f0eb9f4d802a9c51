"""What can be wrong with a model, a plan or a data set that was asked for."""


class PlanError(ValueError):
    """A plan that cannot be read, or does not fit the network it is applied to."""


class UnknownModelError(LookupError):
    """No such model, or one in which no family of blocks is recognised."""


class CheckpointError(ValueError):
    """Weights that cannot be read, or do not fit the model."""


class DataError(LookupError):
    """A data set that is not here or cannot be used."""
