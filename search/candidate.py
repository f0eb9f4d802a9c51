"""What a search finds."""

from dataclasses import dataclass

from pruner.plan import Plan


@dataclass(frozen=True)
class Candidate:
    """A plan that was evaluated: its score (higher is better) and its latency by the table."""

    plan: Plan
    score: float
    latency_ms: float


@dataclass(frozen=True)
class SearchResult:
    """Every plan that was evaluated, best first: by score, and among equal scores the faster."""

    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate:
        return self.candidates[0]

    @property
    def num_evaluations(self) -> int:
        return len(self.candidates)
