"""The evaluator and the study's ledger of a run, for the process that leads the search and for its helpers."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from torch import Tensor

from depthfinder.config.run import RunConfig
from depthfinder.console import log
from depthfinder.pipeline.dependencies import as_text, limits_depend_on, scores_depend_on
from depthfinder.pipeline.fits import load_fits
from depthfinder.pipeline.ground import ground_of, strategy_of
from depthfinder.pipeline.run import Run, load_trained
from profiles.profile import Profile
from pruner.choices.plan import Plan
from pruner.data.images import ImageData
from pruner.network.surgery import OpenNetwork
from pruner.scoring.distance import distance_of
from pruner.scoring.evaluator import Evaluator
from pruner.scoring.score import Score
from pruner.training.settings import TrainSettings
from search.storage.ledger import Ledger
from search.storage.opening import open_storage

_EVALUATION_BATCH: Final = 128
_STATISTICS_BATCHES: Final = 8
# A worker that gave no sign for so long is taken for dead.
_PATIENCE_S: Final = 30.0


def scorer(run: Run) -> Callable[[Sequence[Plan], float], list[Score]]:
    """Returns a function that scores plans on the calibration images.

    A trained supernet scores by labels. Fitted layers score by how near the outputs are to those of the uncut network.

    Returns:
        (plans, bar) -> their scores. Plans that cannot reach the bar may be dropped early.
    """
    batches = list(run.data.calibration_batches(batch_size=_EVALUATION_BATCH))
    trained = run.train_settings(run.config.train.supernet_epochs)
    statistics = _statistics(run.data, trained) if run.config.search.bn_estimation else None
    if run.config.search.by_fits:
        network: OpenNetwork = OpenNetwork(run.model, run.offer.extra_choices).to(run.world.device)
        distance = distance_of(run.model)
        evaluator = Evaluator(network, batches, statistics=statistics, fits=load_fits(run), distance=distance)
    else:
        network = strategy_of(run).scoring_network(ground_of(run)).to(run.world.device)
        load_trained(network, run.checkpoint("supernet", trained))
        evaluator = Evaluator(network, batches, statistics=statistics)

    def evaluate(plans: Sequence[Plan], bar: float) -> list[Score]:
        scores = evaluator(plans, bar)
        for plan, score in zip(plans, scores, strict=True):
            if score.cross_entropy is None and score.distance is None:
                log.warning("there are no numbers with %s: no such answer counts as right", plan.text)
        return scores

    return evaluate


def _statistics(data: ImageData, settings: TrainSettings) -> list[Tensor]:
    """Training images for BatchNorm statistics, in batches (B, C, H, W), of the epoch after the supernet's last."""
    train = data.train_batches(epoch=settings.epochs, batch_size=settings.batch_size, seed=settings.seed)
    return [images for _, (images, _) in zip(range(_STATISTICS_BATCHES), train, strict=False)]


def storage_url(run: Run) -> str:
    """Returns the URL of the study's storage."""
    return run.storage or run.folder.storage(run.config.search.workers)


def open_ledger(run: Run, directions: Sequence[str] = ("maximize",)) -> Ledger:
    """Opens the run's study. In the run's own folder and with one worker, no other process works on it.

    Args:
        run: The run.
        directions: "maximize" or "minimize" for each value of a plan.
    """
    alone = run.storage is None and run.config.search.workers == 1
    storage = open_storage(storage_url(run))
    patience_s = 0.0 if alone else _PATIENCE_S
    name = run.config.search.study_name or run.folder.path.name
    return Ledger(storage, name, _identity(run), directions, part=_part(run.config), patience_s=patience_s)


def _identity(run: Run) -> Mapping[str, str]:
    """All that the scores of plans depend on; two processes on one study must agree on it."""
    found = {
        "network": f"{run.chain.model} {run.chain.fingerprint}",
        "weights": run.uncut.digest,
        "images": run.data.name,
        **as_text(scores_depend_on(run.config)),
    }
    if "device" in found:  # the supernet's training depends on what cuts save
        found["tables"] = ", ".join(_table_digest(target.profile) for target in run.targets)
    return found


def _part(asked: RunConfig) -> str:
    """The name of the part of the study: the limits that the search is within."""
    budget = asked.measure.budget_ms or asked.measure.budget_ratio or "the baseline"
    return f"within {budget}, {_digest(as_text(limits_depend_on(asked)))}"


def _table_digest(profile: Profile) -> str:
    return _digest((profile.segments, profile.rows, profile.pairs))


def _digest(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()[:12]
