"""Depth by our own method, as `depthfinder search` goes about it: what scores plans, and the best that fits.

Plans of a small network are scored by a supernet or by layers that were fitted; the best is taken of those that were
measured to be within a share of the baseline's latency.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from torch import Tensor, nn

from latency.device import Device
from latency.timing import Timings, time_interleaved
from latency.workbench import Workbench
from profiles.profile import Profile
from pruner.choices.choice import DROP, KEEP, MERGE
from pruner.choices.plan import Plan
from pruner.data.images import ImageData
from pruner.fitting.at_once import fit_at_once, fit_own_layers
from pruner.fitting.fits import expected_harms
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import OpenNetwork, describe, supernet
from pruner.progress import silent
from pruner.scoring.distance import distance_of
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
from shared.baselines import IMAGES, data_of, images_of

_STATISTICS_BATCHES: Final = 8


@dataclasses.dataclass(frozen=True)
class Scored:
    """What a way of searching begins with: the plans it may propose, how they are scored, and what that took."""

    space_of: Callable[[LatencyLimit], Space]
    evaluate: Evaluator
    seconds: float


def scorer(
    whole: nn.Module,
    data: ImageData,
    settings: TrainSettings,
    checkpoints: CheckpointFile,
    extra_choices: Sequence[str] = (),
) -> Evaluator:
    """Scores plans on calibration images by a trained supernet, with BatchNorm statistics taken anew for every plan.

    The supernet's training is taken up from its checkpoint. What is offered besides begins fitted.
    """
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


def by_fits(network: str, whole: nn.Module, *, choices: Sequence[str]) -> Scored:
    """What was fitted to the uncut network; what is no better than dropping the block is left out."""
    began = time.monotonic()
    data, opened = data_of(network), OpenNetwork(whole, choices).eval()
    offered = {block: [c for c in site.fitted_choices if c in choices] for block, site in opened.sites.items()}
    fits = fit_at_once(opened, {b: ways for b, ways in offered.items() if ways}, images_of(data, IMAGES), IMAGES)
    evaluate = Evaluator(opened, list(data.calibration_batches(batch_size=100)), fits=fits, distance=distance_of(whole))
    poor = {(key.block, key.choice) for key, one in fits.items() if key.span == 1 and one.is_worse_than_dropping}
    harms = expected_harms(fits)
    fitted = {(key.block, key.choice) for key in fits}
    cuts = {(block.name, c) for block in opened.chain.blocks for c in block.choices if c not in (KEEP, DROP)}

    def space_of(limit: LatencyLimit) -> Space:
        space = Space.of(opened.chain, [limit]).without((cuts - fitted) | poor)
        return space.without_dominated_cuts().expecting(harms)

    return Scored(space_of, evaluate, time.monotonic() - began)


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
