"""Which exit status each error that we know of has."""

from depthfinder.claiming import DifferentRunError
from depthfinder.plan_space import NothingToPruneError
from depthfinder.tensorboard_curves import TensorBoardMissingError
from latency.device import DeviceMissingError, UnknownDeviceError, UnsupportedModeError
from latency.export import ExportError
from latency.kit.torch_graph import KitError
from latency.predictor.operators import PredictorError
from latency.predictor.rows import RowsError
from profiles.errors import ProfileError
from pruner.errors import CheckpointError, DataError, PlanError, UnknownModelError
from pruner.training.loop import TrainingError
from pruner.training.settings import SettingsError
from pruner.training.world import PeerLostError
from search.budget import BudgetUnreachableError
from search.ledger import StudyMismatchError
from search.review import DashboardMissingError
from search.review_server import PortTakenError
from search.reviewed import ReviewError
from search.sampler import UnknownSamplerError
from search.samplers.by_order import TooManyPlansError
from search.storage_url import StorageError

_STATUS: dict[type[Exception], int] = {
    NothingToPruneError: 0,
    ExportError: 1,
    KitError: 1,
    PeerLostError: 1,
    PlanError: 1,
    PortTakenError: 1,
    PredictorError: 1,
    ProfileError: 1,
    ReviewError: 1,
    RowsError: 1,
    TrainingError: 1,
    DifferentRunError: 2,
    SettingsError: 2,
    StudyMismatchError: 2,
    TooManyPlansError: 2,
    UnknownSamplerError: 2,
    UnsupportedModeError: 2,
    CheckpointError: 3,
    DashboardMissingError: 3,
    DataError: 3,
    DeviceMissingError: 3,
    FileNotFoundError: 3,
    StorageError: 3,
    TensorBoardMissingError: 3,
    UnknownDeviceError: 3,
    UnknownModelError: 3,
    BudgetUnreachableError: 4,
}


def exit_status(error: Exception) -> int | None:
    """The status for an error that a user can do something about; None for one that is a fault of ours."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None)
