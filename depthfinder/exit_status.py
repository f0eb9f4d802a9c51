"""Which exit status each error that we know of has.

By the name of its class: whatever went wrong has imported that, and a table of the classes themselves would import all
the rest, torch among it, to say what is wrong with one word.
"""

from typing import Final

STATUS: Final[dict[str, int]] = {
    "depthfinder.plan_space.NothingToPruneError": 0,
    "latency.export.ExportError": 1,
    "latency.kit.torch_graph.KitError": 1,
    "latency.predictor.described.PredictorError": 1,
    "latency.predictor.rows.RowsError": 1,
    "profiles.errors.ProfileError": 1,
    "pruner.errors.FitError": 1,
    "pruner.errors.PlanError": 1,
    "pruner.training.loop.TrainingError": 1,
    "pruner.training.world.PeerLostError": 1,
    "search.candidate.NothingFoundError": 1,
    "search.review_server.PortTakenError": 1,
    "search.reviewed.ReviewError": 1,
    "search.scores.ScoreError": 1,
    "depthfinder.claiming.DifferentRunError": 2,
    "latency.device.UnsupportedModeError": 2,
    "profiles.errors.FileNameError": 2,
    "pruner.training.settings.SettingsError": 2,
    "search.ledger.StudyMismatchError": 2,
    "search.sampler.UnknownSamplerError": 2,
    "search.samplers.by_order.TooManyPlansError": 2,
    "builtins.FileNotFoundError": 3,
    "depthfinder.tensorboard_curves.TensorBoardMissingError": 3,
    "latency.device.DeviceMissingError": 3,
    "latency.device_names.UnknownDeviceError": 3,
    "pruner.errors.CheckpointError": 3,
    "pruner.errors.DataError": 3,
    "pruner.errors.UnknownModelError": 3,
    "search.review.DashboardMissingError": 3,
    "search.storage_url.StorageError": 3,
    "search.budget.BudgetUnreachableError": 4,
}


def exit_status(error: Exception) -> int | None:
    """The status for an error that a user can do something about; None for one that is a fault of ours."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((STATUS[name] for name in names if name in STATUS), None)
