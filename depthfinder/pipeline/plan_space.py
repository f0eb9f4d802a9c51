"""Which plans a run may propose: what was not ruled out, within its budgets and sizes."""

from collections.abc import Sequence
from typing import Final

from depthfinder.errors import NothingToPruneError
from depthfinder.pipeline.run import Run
from pruner.network.sizes import parameters_by_choice
from pruner.network.surgery import supernet
from search.feasible import check_reachable
from search.limits import LatencyLimit, Limit, SizeLimit, latency_limits_by
from search.space import Space
from search.verification.margin import AIMED_BELOW

_BYTES: Final = {"fp32": 4, "fp16": 2, "bf16": 2}


def space_of(run: Run, limits: Sequence[Limit]) -> Space:
    """The plans that were not ruled out, within these limits and those on size; unless the choices were named, without
    those that save nothing by the tables."""
    asked = run.config.search
    space = Space.of(
        run.chain,
        [*limits, *_size_limits(run)],
        keep=asked.keep,
        only=None if asked.cut_choices is None else offered_of(run, asked.cut_choices),
        max_pruned=asked.max_pruned,
        keep_one_per_stage=asked.keep_one_per_stage,
    )
    return space if asked.named_choices else space.without_dominated_cuts()


def offered_of(run: Run, choices: Sequence[str]) -> tuple[str, ...]:
    """The choices as they were named; where none were, those that blocks have of what the way of scoring takes."""
    if run.config.search.named_choices is not None:
        return tuple(choices)
    offered = {choice for block in run.chain.blocks for choice in block.choices}
    return tuple(choice for choice in choices if choice in offered)


def latency_limits(run: Run, corrections: Sequence[float]) -> list[LatencyLimit]:
    """What every device's table may say of a plan, if it has to be multiplied by the device's correction."""
    bounds = (
        (one.profile, one.budget.tightened(AIMED_BELOW).latency_ms / correction)
        for one, correction in zip((run, *run.others), corrections, strict=True)
    )
    return [limit for profile, bound_ms in bounds for limit in latency_limits_by(profile, bound_ms)]


def limits_of(run: Run) -> list[LatencyLimit]:
    """The same by the tables as they are."""
    return latency_limits(run, [1.0 for _ in (run, *run.others)])


def check_budget(run: Run) -> None:
    """Before any training: whether the budgets ask for something, and for something that can be had."""
    budget, sizes = run.budget, (run.config.search.max_parameters, run.config.search.max_memory_mb)
    within = [one.budget.latency_ms >= _uncut_ms(one) for one in (run, *run.others)]
    if all(within) and not any(sizes):
        raise NothingToPruneError(
            f"{run.chain.model} takes {_uncut_ms(run):.3f} ms as it is, within the budget of "
            f"{budget.latency_ms:.3f} ms: nothing need be pruned"
        )
    check_reachable(space_of(run, limits_of(run)))


def _uncut_ms(run: Run) -> float:
    """The baseline that a budget is held against: as measured for milliseconds, the table's own for a share of it."""
    return run.profile.baseline_ms if run.budget.ratio is None else run.profile.uncut_ms


def _size_limits(run: Run) -> list[Limit]:
    asked = run.config
    if asked.search.max_parameters is None and asked.search.max_memory_mb is None:
        return []
    sizes = parameters_by_choice(supernet(run.untuned, run.extra_choices))
    whole = float(sum(parameter.numel() for parameter in run.untuned.parameters()))
    limits: list[Limit] = []
    if asked.search.max_parameters is not None:
        limits.append(SizeLimit("parameters", asked.search.max_parameters, whole, sizes))
    if asked.search.max_memory_mb is not None:
        parameters = asked.search.max_memory_mb * 1e6 / _BYTES[asked.measure.mode.dtype]
        limits.append(SizeLimit(f"parameters ({asked.search.max_memory_mb:g} MB)", parameters, whole, sizes))
    return limits
