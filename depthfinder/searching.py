"""The search from Python: over any chain and table, by any scores, with finalists measured where a device is named."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from torch import nn

from depthfinder.console import log
from latency.devices import Mode, open_device
from latency.mode import Dtype
from profiles.errors import ProfileError
from profiles.fingerprint import why_not
from profiles.profile import Profile
from pruner.choices.chain import Chain
from pruner.choices.choice import CHOICES
from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.candidate import SearchResult
from search.limits import latency_limits_by
from search.samplers import known_sampler
from search.search import Stop
from search.search import search as _search
from search.space import Space
from search.storage.ledger import Ledger, in_memory
from search.storage.opening import open_storage
from search.verification.budget import Budget
from search.verification.finalists import Judge, TimePlans
from search.verification.margin import AIMED_BELOW, margin_on
from search.verification.timing import plan_timer
from search.verification.within_budget import search_within_budget

Evaluate = Callable[[Sequence[Plan]], Sequence[Score | float]]
"""Scores of plans, higher is better."""


def search(
    chain: Chain,
    profile: Profile,
    *,
    budget_ms: float,
    evaluate: Evaluate,
    model: nn.Module | None = None,
    device: str | None = None,
    storage: str | None = None,
    study_name: str = "depthfinder",
    sampler: str = "auto",
    keep: Sequence[str] = (),
    choices: Sequence[str] | None = None,
    max_pruned: int | None = None,
    keep_one_per_stage: bool = False,
    harms: Mapping[tuple[str, str], float] | None = None,
    n_trials: int = 64,
    gap: float = 0.0,
    timeout: float | None = None,
    seed: int = 0,
) -> SearchResult:
    """Searches for the best plans within a latency budget: by the table, or with a `device` as measured there.

    With a device the best plans are measured beside the uncut network, the table is corrected by what that shows, and
    the search goes on until a plan is measured to fit: `result.best` is that one, and `result.finalists` are all that
    were measured.

    Args:
        chain: The blocks of the network, from `df.describe`.
        profile: Its latency table, from `df.profile` or `df.load_profile`.
        budget_ms: The latency that a plan may have, in milliseconds.
        evaluate: Called with plans, returns their scores; higher is better. A plan that failed may have the score -inf,
            and then counts as worse than all others. `df.Evaluator` and `df.Fitted` are such.
        model: The network itself, which measuring takes.
        device: Where the best plans are measured; it has to be the table's.
        storage: The URL of a storage that keeps the study: the same call goes on from the plans that it finds there.
            No other process may use the study meanwhile.
        study_name: The study's name in that storage.
        sampler: What proposes plans: one of `search.samplers.SAMPLERS`.
        keep: Blocks, or paths that blocks lie under, that are left alone.
        choices: The only ways in which blocks may be cut.
        max_pruned: How many blocks may be cut.
        keep_one_per_stage: Whether every stage keeps a block as it is.
        harms: (block, choice) -> the loss that is expected of this cut alone, in any unit, such as `df.Fitted.harms`.
            The search takes them as first guesses.
        n_trials: How many plans are evaluated.
        gap: The search ends when it expects no plan to be better than the best by more than this share of its score.
        timeout: The search ends after so many seconds.
        seed: Decides everything that is drawn at random.

    Raises:
        ScoreError: for a score that is no finite number; it names the plan, and the scores beside it are kept.
        BudgetUnreachableError: when no plan fits.
        ProfileError: when the table is another chain's or another device's, or lacks rows.
        PlanError: for constraints that name blocks or choices that the chain does not have.
        ValueError: for a budget that is no positive number, fewer than one trial, a gap or timeout that is no number,
            and a device without the model.

    Example:
        >>> import depthfinder as df
        >>> model = df.load_model("deit_digits", depth=4)
        >>> chain, table = df.describe(model), df.profile(model, "null")
        >>> found = df.search(
        ...     chain,
        ...     table,
        ...     budget_ms=0.8 * table.baseline_ms,
        ...     evaluate=lambda plans: [-len(plan.choices) for plan in plans],
        ...     n_trials=20,
        ... )
        >>> found.best.latency_ms <= 0.8 * table.baseline_ms
        True
    """
    other = why_not("this profile", profile.model, profile.fingerprint, chain.fingerprint)
    if other is not None:
        raise ProfileError(other)
    whole = Space.of(
        chain, [], keep=keep, only=choices, max_pruned=max_pruned, keep_one_per_stage=keep_one_per_stage
    ).expecting(harms or {})
    limits = (*whole.limits, *latency_limits_by(profile, Budget(budget_ms).latency_ms))
    signatures = {block.name: block.signature for block in chain.blocks}
    lacking = sorted({choice for block, choice in whole.cuts if not profile.has_row(signatures[block], choice)})
    if lacking:
        raise ProfileError(
            f"this profile has no rows for {', '.join(lacking)}: profile with extra_choices={lacking}, or search with "
            "choices= that leave them out"
        )
    identity = {
        "network": f"{chain.model} {chain.fingerprint}",
        "limits": ", ".join(limit.text for limit in limits),
        "search": f"{sampler}, seed {seed}",
    }
    where = in_memory() if storage is None else open_storage(storage)
    ledger = Ledger(where, study_name, identity, patience_s=0)

    def within(bound_ms: float, first: int, stop: int) -> SearchResult:
        return _search(
            whole.within([*whole.limits, *latency_limits_by(profile, bound_ms)]),
            evaluate=lambda plans, _bar: evaluate(plans),
            ledger=ledger,
            sampler=known_sampler(sampler),
            stop=Stop(stop, gap, timeout),
            first=first,
            seed=seed,
        )

    budget = Budget(budget_ms)
    if device is None:
        return within(budget.latency_ms, 0, n_trials)
    judges = [Judge(budget, profile, _timer(model, device, profile, whole.cuts, seed))]
    aimed_ms = budget.tightened(AIMED_BELOW).latency_ms
    found = search_within_budget(
        lambda corrections, first, stop: within(aimed_ms / corrections[0], first, stop),
        judges,
        n_trials,
        margin=margin_on(judges, chain.plan({}), log.info),
        tell=log.info,
    )
    return dataclasses.replace(found.result, finalists=found.finalists)


def _timer(
    model: nn.Module | None, device: str, profile: Profile, cuts: Iterable[tuple[str, str]], seed: int
) -> TimePlans:
    """Times plans on the device of a table as the table was measured."""
    setting = profile.setting
    if model is None:
        raise ValueError("plans are measured as networks: give the model beside the device")
    if device != setting.device:
        raise ProfileError(f"this profile is of {setting.device}: measure on that, or profile on {device}")
    threads, dtype, channels_last, compiled = setting.mode_fields
    opened = open_device(device, Mode(threads, cast(Dtype, dtype), channels_last, compiled))
    choices = sorted({choice for _, choice in cuts if CHOICES[choice].on_request})
    return plan_timer(model, opened, setting.batch_size, choices, seed=seed)
