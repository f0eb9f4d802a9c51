"""What a search finds."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.errors import NothingFoundError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Candidate:
    """A plan that was evaluated: its score (higher is better), and its latency by the table.

    `fits` says whether it is within the limits, `number` in which place it was proposed, and `how` by which search.
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
    """Every plan that was evaluated. `candidates` are those within the limits, best first: by score, and among equal
    scores the faster; `others` are those that are not, since a table was corrected.

    `gap` is how much better, as a share of the best score, a plan may be by what was learned; 0 when every plan was
    evaluated, None when there is no telling. `stopped` says why the search ended.
    """

    candidates: tuple[Candidate, ...]
    others: tuple[Candidate, ...] = ()
    gap: float | None = None
    stopped: str = ""

    @property
    def best(self) -> Candidate:
        """Raises `NothingFoundError` when no plan within the limits was evaluated, or all that were have failed."""
        if not self.candidates:
            raise NothingFoundError(f"no plan within the limits was evaluated ({self.stopped}): allow more time")
        if self.candidates[0].score == -math.inf:
            raise NothingFoundError(f"all {len(self.candidates)} plans within the limits failed: their score is -inf")
        return self.candidates[0]

    @property
    def num_evaluations(self) -> int:
        return len(self.candidates) + len(self.others)

    def to_frame(self) -> "pd.DataFrame":
        """Every plan that was evaluated, best first and last those beyond the limits: its score, its latency by the
        table in milliseconds, whether it is within the limits, and what becomes of every block that it cuts.

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
        """The candidates that no faster one equals or betters, fastest first (the Pareto front)."""
        front: list[Candidate] = []
        for candidate in sorted(self.candidates, key=lambda c: (c.latency_ms, -c.score)):
            if not front or candidate.score > front[-1].score:
                front.append(candidate)
        return tuple(front)
