"""The plans that a run may propose, within its budgets and its limits on size."""

from collections.abc import Sequence
from typing import Final

from depthfinder.errors import NothingToPruneError
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.target import Target
from pruner.network.sizes import parameters_by_choice
from pruner.network.surgery import supernet
from search.feasible import check_reachable
from search.limits import LatencyLimit, Limit, SizeLimit, latency_limits_by
from search.space import Space
from search.verification.margin import AIMED_BELOW

_BYTES: Final = {"fp32": 4, "fp16": 2, "bf16": 2}


def space_of(run: Run, limits: Sequence[Limit]) -> Space:
    """Returns the plans within the settings of the search, these limits, and those on parameters and memory."""
    return run.offer.space([*limits, *_size_limits(run)])


def latency_limits(targets: Sequence[Target], corrections: Sequence[float]) -> list[LatencyLimit]:
    """Returns the limits on a plan's latency by the tables.

    Args:
        targets: The devices, with their budgets and tables.
        corrections: For each device, the measured latency over that by its table.
    """
    bounds = (
        (target.profile, target.budget.tightened(AIMED_BELOW).latency_ms / correction)
        for target, correction in zip(targets, corrections, strict=True)
    )
    return [limit for profile, bound_ms in bounds for limit in latency_limits_by(profile, bound_ms)]


def limits_of(targets: Sequence[Target]) -> list[LatencyLimit]:
    """Returns the limits on a plan's latency by the tables as they are."""
    return latency_limits(targets, [1.0 for _ in targets])


def check_budget(run: Run) -> None:
    """Checks before any training that a plan has to be cut to meet the budgets, and that some plan does.

    Raises:
        NothingToPruneError: when the uncut network is within every budget, and no size is limited.
        BudgetUnreachableError: when no plan is within the budgets and the limits on size.
    """
    first, sizes = run.target, (run.config.search.max_parameters, run.config.search.max_memory_mb)
    if all(target.budget.latency_ms >= target.uncut_ms for target in run.targets) and not any(sizes):
        raise NothingToPruneError(
            f"{run.chain.model} takes {first.uncut_ms:.3f} ms as it is, within the budget of "
            f"{first.budget.latency_ms:.3f} ms: nothing need be pruned"
        )
    check_reachable(space_of(run, limits_of(run.targets)))


def _size_limits(run: Run) -> list[Limit]:
    asked = run.config
    if asked.search.max_parameters is None and asked.search.max_memory_mb is None:
        return []
    sizes = parameters_by_choice(supernet(run.uncut.network, run.offer.extra_choices))
    whole = float(sum(parameter.numel() for parameter in run.uncut.network.parameters()))
    limits: list[Limit] = []
    if asked.search.max_parameters is not None:
        limits.append(SizeLimit("parameters", asked.search.max_parameters, whole, sizes))
    if asked.search.max_memory_mb is not None:
        parameters = asked.search.max_memory_mb * 1e6 / _BYTES[asked.measure.mode.dtype]
        limits.append(SizeLimit(f"parameters ({asked.search.max_memory_mb:g} MB)", parameters, whole, sizes))
    return limits
