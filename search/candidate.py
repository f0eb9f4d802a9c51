"""The result of a search: the plans that were evaluated, best first."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.errors import NothingFoundError

if TYPE_CHECKING:
    import pandas as pd

    from search.verification.finalists import Finalist


@dataclass(frozen=True)
class Candidate:
    """A plan that was evaluated.

    Attributes:
        plan: The plan.
        score: What it is ranked by; higher is better.
        latency_ms: Its latency by the table, in milliseconds.
        fits: Whether the plan is within the limits.
        number: The slot of the study that the plan has.
        how: What proposed the plan: `solver`, `draw`, `flip`, `random` or a sampler's name.
        details: Accuracy, cross-entropy and the like, where they were recorded.

    Example:
        >>> candidate = Candidate(Plan("resnet18", {"layer1.0": "drop"}), score=0.91, latency_ms=3.2, how="draw")
        >>> candidate.plan.text, candidate.latency_ms, candidate.fits
        ('layer1.0 drop', 3.2, True)
    """

    plan: Plan
    score: float
    latency_ms: float
    fits: bool = True
    number: int = 0
    how: str = ""
    details: Score | None = None


@dataclass(frozen=True)
class SearchResult:
    """Every plan that a search evaluated.

    Attributes:
        candidates: The plans within the limits, best first: by score, and among equal scores the faster.
        others: The plans outside the limits, in the same order, such as those evaluated before a table was corrected or
            under other limits.
        gap: How much better than the best a plan may be, as a share of the best score, by what was learned; 0 when
            every plan was evaluated, None when it is not known.
        stopped: Why the search ended, in words.
        finalists: The plans that were measured, the winner first; none where a search goes by the table alone.

    Example:
        >>> plans = [Plan("resnet18", {"layer1.0": "drop"}), Plan("resnet18", {"layer1.1": "drop"})]
        >>> result = SearchResult((Candidate(plans[0], score=0.9, latency_ms=3.2), Candidate(plans[1], 0.8, 3.0)))
        >>> result.best.plan.text
        'layer1.0 drop'
        >>> [candidate.latency_ms for candidate in result.front]
        [3.0, 3.2]
    """

    candidates: tuple[Candidate, ...]
    others: tuple[Candidate, ...] = ()
    gap: float | None = None
    stopped: str = ""
    finalists: "tuple[Finalist, ...]" = ()

    @property
    def best(self) -> Candidate:
        """The plan of the highest score within the limits; of those that were measured to fit, where any were measured.

        Raises `NothingFoundError` when no plan within the limits was evaluated, or all of them failed.
        """
        if self.finalists:
            return self.finalists[0].candidate
        if not self.candidates:
            raise NothingFoundError(f"no plan within the limits was evaluated ({self.stopped}): allow more time")
        if self.candidates[0].score == -math.inf:
            raise NothingFoundError(f"all {len(self.candidates)} plans within the limits failed: their score is -inf")
        return self.candidates[0]

    @property
    def num_evaluations(self) -> int:
        """How many plans were evaluated."""
        return len(self.candidates) + len(self.others)

    def to_frame(self) -> "pd.DataFrame":
        """The evaluated plans as a table, one a row: those within the limits best first, then the others.

        Returns:
            The columns `number`, `score`, `latency_ms` (by the latency table), `fits` and `how`, and one for every
            block that some plan cuts, with what becomes of it.

        Example:
            >>> plan = Plan("resnet18", {"layer1.0": "drop"})
            >>> SearchResult((Candidate(plan, score=0.9, latency_ms=3.2),)).to_frame()["layer1.0"].tolist()
            ['drop']
        """
        import pandas as pd

        found = [*self.candidates, *self.others]
        names = dict.fromkeys(block for one in found for block in one.plan.choices)
        rows = [
            {"number": one.number, "score": one.score, "latency_ms": one.latency_ms, "fits": one.fits, "how": one.how}
            | {block: one.plan.choice_of(block) for block in names}
            for one in found
        ]
        return pd.DataFrame(rows, columns=["number", "score", "latency_ms", "fits", "how", *names])

    @property
    def front(self) -> tuple[Candidate, ...]:
        """The Pareto front: the candidates whose score no faster one equals or exceeds, fastest first."""
        front: list[Candidate] = []
        for candidate in sorted(self.candidates, key=lambda c: (c.latency_ms, -c.score)):
            if not front or candidate.score > front[-1].score:
                front.append(candidate)
        return tuple(front)
