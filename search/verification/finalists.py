"""The final check of latency: plans are measured beside the baseline, on every device that has a budget."""

import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from latency.evidence import Evidence, slowdown
from latency.timing import Timings
from profiles.measurement import Measurement
from profiles.profile import Profile
from pruner.choices.plan import Plan
from search.candidate import Candidate
from search.verification.budget import Answer, Budget
from search.verification.verdict import doubts_about, gather_evidence, measured_figure, verdict_by_table, verdict_on

TimePlans = Callable[[Mapping[str, Plan]], Timings]
"""Times the networks of plans in the same rounds, under the names they are given."""

_BASELINE: Final = "baseline"


@dataclass(frozen=True)
class Judge:
    """A device that finalists are judged on.

    Attributes:
        budget: The latency that a plan may have there.
        profile: The latency table that the search went by.
        time_plans: Times plans on the device; None where the device is not here, and the table decides.
        wait: Lets seconds pass before readings that cannot be believed are taken again.
    """

    budget: Budget
    profile: Profile
    time_plans: TimePlans | None
    wait: Callable[[float], None] = time.sleep

    @property
    def device(self) -> str:
        """The name of the device."""
        return self.profile.setting.device


@dataclass(frozen=True)
class OnDevice:
    """One plan on one device.

    Attributes:
        device: The name of the device.
        predicted_ms: The plan's latency by the table, in milliseconds.
        evidence: What was measured; None where nothing was.
        ratio: The plan's latency over the baseline's, as measured in the same rounds, else by the table.
        correction: What was measured divided by what the table predicts; None where the readings cannot be believed.
        answer: Whether the budget is met.
        reason: Why that is the answer, in words.
        fits: Whether the plan may win: it surely meets the budget, with the margin that was asked for. Readings that
            cannot be believed neither accept nor refuse a plan. Then time on the processor decides, or else the
            table, and the answer stays undecided.
    """

    device: str
    predicted_ms: float
    evidence: Evidence | None
    ratio: float
    correction: float | None
    answer: Answer
    reason: str
    fits: bool

    @property
    def measured(self) -> Measurement | None:
        """The plan's latency as measured; None where nothing was measured."""
        return None if self.evidence is None else self.evidence.network

    @property
    def straddles(self) -> bool:
        """Whether the answer is undecided only because the 95 % interval contains the budget."""
        return self.answer == "undecided" and self.evidence is not None and self.correction is not None


@dataclass(frozen=True)
class Finalist:
    """A candidate with its verdicts, one for each device, the main device first."""

    candidate: Candidate
    verdicts: tuple[OnDevice, ...]

    @property
    def fits(self) -> bool:
        """Whether the plan may win on every device."""
        return all(verdict.fits for verdict in self.verdicts)

    @property
    def straddles(self) -> bool:
        """Whether, on some device, the answer is undecided only because the interval contains the budget."""
        return any(verdict.straddles for verdict in self.verdicts)


def _say_nothing(words: str) -> None:
    """Ignores what it is told."""


def measure_finalists(
    candidates: Sequence[Candidate],
    judges: Sequence[Judge],
    *,
    margin: float = 0.0,
    tell: Callable[[str], None] = _say_nothing,
) -> tuple[Finalist, ...]:
    """Measures candidates on every device and judges them.

    A candidate fits when its whole 95 % interval is within the budget, so that noise does not decide, and its latency
    is within the budget less the margin. Readings that cannot be believed are taken again before they are judged.

    Args:
        candidates: The plans to measure.
        judges: The devices, with their budgets and tables.
        margin: The share of the budget that has to stay unused.
        tell: Is told what is going on, a line at a time.

    Returns:
        The candidates in their order, each with a verdict for every judge.
    """
    by_judge = [_verdicts(candidates, judge, margin, tell) for judge in judges]
    return tuple(
        Finalist(candidate, verdicts)
        for candidate, verdicts in zip(candidates, zip(*by_judge, strict=True), strict=True)
    )


def winner_of(finalists: Sequence[Finalist]) -> Finalist | None:
    """The finalist of the highest score among those that fit; None when none fits."""
    fitting = [finalist for finalist in finalists if finalist.fits]
    return min(fitting, key=lambda f: (-f.candidate.score, f.candidate.latency_ms), default=None)


def correction_of(finalists: Sequence[Finalist], judge: int) -> float | None:
    """The factor by which a judge's table has to be multiplied to predict what was measured.

    It is the median over the finalists whose readings on that device can be believed; None where there is none.

    Args:
        finalists: The plans that were measured.
        judge: The index of the judge.
    """
    found = [finalist.verdicts[judge].correction for finalist in finalists]
    believed = [correction for correction in found if correction is not None]
    return statistics.median(believed) if believed else None


def slowdown_of(finalists: Sequence[Finalist], judges: Sequence[Judge], judge: int) -> float | None:
    """How much slower the machine of a judge is than when its table was made.

    Args:
        finalists: The plans that were measured.
        judges: The devices.
        judge: The index of the judge that is meant.

    Returns:
        What the machine's reference product takes now over what it took then; None where one of the two was not timed.
    """
    evidences = [finalist.verdicts[judge].evidence for finalist in finalists]
    found = [slowdown(judges[judge].profile, evidence) for evidence in evidences if evidence is not None]
    known = [one for one in found if one is not None]
    return statistics.median(known) if known else None


def _verdicts(
    candidates: Sequence[Candidate], judge: Judge, margin: float, tell: Callable[[str], None]
) -> list[OnDevice]:
    predicted = [judge.profile.latency_ms(candidate.plan) for candidate in candidates]
    time_plans, budget = judge.time_plans, judge.budget
    if time_plans is None:
        return [_by_table(judge, ms) for ms in predicted]
    plans = {f"candidate {index}": candidate.plan for index, candidate in enumerate(candidates)}
    uncut = Plan(model=candidates[0].plan.model)

    def time_named(names: Collection[str]) -> Timings:
        return time_plans({_BASELINE: uncut} | {name: plans[name] for name in names})

    found = gather_evidence(
        list(plans),
        _BASELINE,
        budget,
        time_named,
        again=lambda evidence: bool(doubts_about(budget, evidence)),
        tell=tell,
        wait=judge.wait,
    )
    return [_measured(judge, found[name], ms, margin) for name, ms in zip(plans, predicted, strict=True)]


def _by_table(judge: Judge, predicted_ms: float) -> OnDevice:
    verdict = verdict_by_table(judge.budget, predicted_ms, judge.device)
    fits, ratio = predicted_ms <= judge.budget.latency_ms, predicted_ms / judge.profile.uncut_ms
    return OnDevice(judge.device, predicted_ms, None, ratio, 1.0, verdict.answer, verdict.reason, fits)


def _measured(judge: Judge, evidence: Evidence, predicted_ms: float, margin: float) -> OnDevice:
    budget, aim = judge.budget, judge.budget.tightened(margin)
    verdict = verdict_on(budget, evidence)
    figure = measured_figure(budget, evidence)
    if doubts_about(budget, evidence):
        correction, fits = None, _fits_by_what_else_there_is(aim, evidence)
    else:
        # Both are shares of the budget: that of a ratio is met by the table and when measured at the same share.
        share = predicted_ms / budget.latency_ms
        correction = figure / budget.bound / share if share else math.inf
        fits = verdict.answer == "met" and figure <= aim.bound
    answer, reason = verdict.answer, verdict.reason
    return OnDevice(judge.device, predicted_ms, evidence, evidence.wall.value, correction, answer, reason, fits)


def _fits_by_what_else_there_is(aim: Budget, evidence: Evidence) -> bool:
    """Whether a plan fits where the wall clock cannot be believed: by its time on the processor. Where that is no
    witness either, only the table is left, by which every candidate is within the budget."""
    if evidence.processor is None:
        return True
    return (evidence.network.cpu_ms if aim.ratio is None else evidence.processor.high) <= aim.bound
