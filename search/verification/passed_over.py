"""Why a plan of a better score than the winner's was not taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from search.candidate import Candidate
from search.verification.finalists import Finalist, Judge, OnDevice
from search.verification.within_budget import VerifiedSearch

_POINT: Final = 0.01
"""A score that is better by no more than this may be better by chance."""


@dataclass(frozen=True)
class PassedOver:
    """A plan that beats the winner by more than a point of score, and why it did not win."""

    candidate: Candidate
    reason: str


def passed_over(kept: VerifiedSearch, judges: Sequence[Judge], *, margin: float) -> tuple[PassedOver, ...]:
    """Every evaluated plan that beats the winner by more than 0.01 of score, best first, with the reason why it did not
    win.

    Args:
        kept: What the search found and measured.
        judges: The devices, in the order of the verdicts.
        margin: The share of the budget that a finalist had to leave unused.
    """
    winner, finalists = kept.winner, {finalist.candidate.plan: finalist for finalist in kept.finalists}
    evaluated = sorted((*kept.result.candidates, *kept.result.others), key=lambda c: (-c.score, c.latency_ms))
    return tuple(
        PassedOver(candidate, _reason(candidate, finalists.get(candidate.plan), kept, judges, margin))
        for candidate in evaluated
        if candidate.score > winner.candidate.score + _POINT
    )


def _reason(
    candidate: Candidate, finalist: Finalist | None, kept: VerifiedSearch, judges: Sequence[Judge], margin: float
) -> str:
    if finalist is not None:
        return "; ".join(_as_measured(verdict, margin) for verdict in finalist.verdicts if not verdict.fits)
    for judge, correction in zip(judges, kept.corrections, strict=True):
        expected_ms = judge.profile.latency_ms(candidate.plan) * correction
        aim_ms = judge.budget.tightened(margin).latency_ms
        if expected_ms > aim_ms:
            by = "by the table" if correction == 1 else f"by the table times {correction:.3f}, as measured"
            return f"{expected_ms:.3f} ms on {judge.device} {by}, above {aim_ms:.3f} ms; not measured"
    if not candidate.fits:
        return "outside the limits that the search was left with: a table as it was corrected last, or one on size"
    return "within reach by the table, but enough plans were measured"


def _as_measured(verdict: OnDevice, margin: float) -> str:
    if verdict.answer == "met":
        return (
            f"on {verdict.device} {verdict.reason}, but by less than the {margin:.1%} that loading it anew may change"
        )
    if verdict.correction is None:
        return f"on {verdict.device} {verdict.reason}; by time on the processor it is above the budget"
    return f"on {verdict.device} {verdict.reason}"
