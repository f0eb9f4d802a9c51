"""The last word on latency: plans are measured beside the baseline, on every device that has a budget."""

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
    """A device that plans are measured on: its budget, the table that they were searched by, and what times them.

    Where nothing can be timed, because the device is not here, the table has the last word too. `wait` lets seconds
    pass before what could not be believed is timed again.
    """

    budget: Budget
    profile: Profile
    time_plans: TimePlans | None
    wait: Callable[[float], None] = time.sleep

    @property
    def device(self) -> str:
        return self.profile.setting.device


@dataclass(frozen=True)
class OnDevice:
    """One plan on one device.

    Attributes:
        device: the device's name.
        predicted_ms: what its table says.
        evidence: what was measured; None where nothing was.
        ratio: of the latency to the baseline's, as measured in the same rounds, else by the table.
        correction: how what was measured compares with what the table says of the same; None where what was measured
            cannot be believed.
        answer: whether the budget is met.
        reason: why that is the answer.
        fits: whether the plan may win: it surely meets the budget with the margin that was asked for. Readings that
            cannot be believed neither accept nor refuse a plan: what else there is decides, time on the processor or
            else the table, and the answer stays undecided.
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
        return None if self.evidence is None else self.evidence.network

    @property
    def straddles(self) -> bool:
        """Whether all that keeps it from an answer is that its interval has the budget in it."""
        return self.answer == "undecided" and self.evidence is not None and self.correction is not None


@dataclass(frozen=True)
class Finalist:
    """A candidate as found on every device, that of the first device first."""

    candidate: Candidate
    verdicts: tuple[OnDevice, ...]

    @property
    def fits(self) -> bool:
        return all(verdict.fits for verdict in self.verdicts)

    @property
    def straddles(self) -> bool:
        return any(verdict.straddles for verdict in self.verdicts)


def _say_nothing(words: str) -> None:
    """For who does not listen."""


def measure_finalists(
    candidates: Sequence[Candidate],
    judges: Sequence[Judge],
    *,
    margin: float = 0.0,
    tell: Callable[[str], None] = _say_nothing,
) -> tuple[Finalist, ...]:
    """The candidates, in their order, each with a verdict of every judge.

    A candidate fits when its whole 95 % interval is within the budget, so that noise does not decide, and its latency
    within the budget less the share `margin` of it. What cannot be believed is measured again before it is judged.
    """
    by_judge = [_verdicts(candidates, judge, margin, tell) for judge in judges]
    return tuple(
        Finalist(candidate, verdicts)
        for candidate, verdicts in zip(candidates, zip(*by_judge, strict=True), strict=True)
    )


def winner_of(finalists: Sequence[Finalist]) -> Finalist | None:
    """The best by score of those that fit."""
    fitting = [finalist for finalist in finalists if finalist.fits]
    return min(fitting, key=lambda f: (-f.candidate.score, f.candidate.latency_ms), default=None)


def correction_of(finalists: Sequence[Finalist], judge: int) -> float | None:
    """By how much the table of a judge has to be multiplied to say what was measured: the median over the finalists
    whose readings can be believed; None where there is none."""
    found = [finalist.verdicts[judge].correction for finalist in finalists]
    believed = [correction for correction in found if correction is not None]
    return statistics.median(believed) if believed else None


def slowdown_of(finalists: Sequence[Finalist], judges: Sequence[Judge], judge: int) -> float | None:
    """What the reference of a judge's machine takes now, over what it took when the table was made; None where one of
    the two was not timed."""
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
    """Where the wall clock cannot be believed: whether time on the processor is within the budget. Where that is no
    witness either only the table is left, by which every candidate is within the budget."""
    if evidence.processor is None:
        return True
    return (evidence.network.cpu_ms if aim.ratio is None else evidence.processor.high) <= aim.bound
