"""What may stand in a study as a score.

A score is a number of at most `LARGEST` in size, higher is better. Minus infinity says that a plan failed, which
ranks it below all others. NaN and plus infinity are refused, with an error that names the plan.
"""

import math
from collections.abc import Sequence
from typing import Final

from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.errors import ScoreError

# The samplers that learn from scores square them, and a larger number would overflow.
LARGEST: Final = 1e150


def is_score(value: float) -> bool:
    """Whether plans can be ranked by this value: minus infinity, or a number of at most `LARGEST` in size."""
    return value == -math.inf or abs(value) <= LARGEST


def score_of(plan: Plan, found: Score | float) -> Score:
    """The result of an evaluation as a score.

    Raises `ScoreError`, which names the plan, where the result is not a score.

    Example:
        >>> score_of(Plan("resnet18"), 0.75).value
        0.75
        >>> score_of(Plan("resnet18"), -math.inf).value
        -inf
    """
    try:
        score = found if isinstance(found, Score) else Score(float(found))
    except (TypeError, ValueError):
        raise ScoreError(_refusal(plan, repr(found))) from None
    if not is_score(score.value):
        raise ScoreError(_refusal(plan, f"{score.value}"))
    return score


def check_count(plans: Sequence[Plan], found: Sequence[Score | float]) -> None:
    """Raises `ScoreError` where there is not one score for each plan."""
    if len(found) != len(plans):
        raise ScoreError(f"{len(plans)} plans were evaluated to {len(found)} scores: give one for each, in their order")


def _refusal(plan: Plan, found: str) -> str:
    return (
        f"a plan was evaluated to {found}, which is no score: give a number of at most {LARGEST:g} in size, "
        f"higher is better, or -inf where a plan failed; it was the plan with {plan.text}"
    )
