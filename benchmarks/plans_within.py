"""Depth by our own method, as `depthfinder search` goes about it: a supernet of a small network, and the plan that it
scores best among those that were measured to fit a share of the baseline's latency."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from torch import Tensor, nn

from latency.device import Device
from latency.timing import Timings, time_interleaved
from latency.workbench import Workbench
from profiles.profile import Profile
from pruner.choices.choice import MERGE
from pruner.choices.plan import Plan
from pruner.data.images import ImageData
from pruner.fitting.at_once import fit_own_layers
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import describe, supernet
from pruner.progress import silent
from pruner.scoring.evaluator import Evaluator
from pruner.training.loop import fit
from pruner.training.progressive import calibrate_norms
from pruner.training.settings import TrainSettings
from pruner.training.supernet import SupernetObjective
from search.candidate import SearchResult
from search.limits import LatencyLimit
from search.samplers import known_sampler
from search.search import Stop, search
from search.space import Space
from search.storage.ledger import Ledger, in_memory
from search.verification.budget import Budget
from search.verification.finalists import Finalist, Judge
from search.verification.margin import AIMED_BELOW, margin_on
from search.verification.within_budget import search_within_budget

_STATISTICS_BATCHES: Final = 8


def scorer(
    whole: nn.Module,
    data: ImageData,
    settings: TrainSettings,
    checkpoints: CheckpointFile,
    extra_choices: Sequence[str] = (),
) -> Evaluator:
    """Scores plans on calibration images by a trained supernet, with BatchNorm statistics taken anew for every plan.
    The supernet's training is taken up from its checkpoint. What is offered besides begins fitted."""
    network = supernet(whole, extra_choices)
    mergeable = {block.name: MERGE for block in network.chain.blocks if MERGE in block.choices}
    calibrate_norms(network, network.chain.plan(mergeable), data, settings)
    more: list[Tensor] = []
    for images, _ in data.train_batches(epoch=settings.epochs, batch_size=settings.batch_size, seed=settings.seed):
        more.append(images)
    fit_own_layers(network, more, sum(map(len, more)))
    fit(SupernetObjective(network), data, settings, checkpoints, silent)
    batches = list(data.calibration_batches(batch_size=100))
    return Evaluator(network.eval(), batches, statistics=more[:_STATISTICS_BATCHES])


def best_plan(
    whole: nn.Module,
    device: Device[Any],
    costs: Profile,
    evaluate: Evaluator,
    *,
    space_of: Callable[[LatencyLimit], Space],
    share: float,
    trials: int,
    seconds: float,
    tell: Callable[[str], None],
) -> Finalist:
    """The winner within `share` of the baseline's latency among the plans of `space_of`, with what its network took;
    finalists are measured for `seconds` at a time.

    Raises `BudgetUnreachableError` when no plan fits.
    """
    budget = Budget.relative(share, costs)
    ledger = Ledger(in_memory(), "study", {}, patience_s=0)

    def timed(plans: Mapping[str, Plan]) -> Timings:
        bench = Workbench(whole, device, 1)
        programs = {name: bench.program_of(plan) for name, plan in plans.items()}
        return time_interleaved(programs, seconds=seconds, seed=0)

    def search_slots(corrections: Sequence[float], first: int, stop: int) -> SearchResult:
        limit = LatencyLimit(costs, budget.tightened(AIMED_BELOW).latency_ms / corrections[0])
        return search(
            space_of(limit),
            evaluate=lambda plans, bar: evaluate(plans, bar),
            ledger=ledger,
            sampler=known_sampler("prefix"),
            stop=Stop(stop),
            first=first,
        )

    judges = [Judge(budget, costs, timed)]
    margin = margin_on(judges, describe(whole).plan({}), tell)
    return search_within_budget(search_slots, judges, trials, margin=margin, tell=tell).winner
