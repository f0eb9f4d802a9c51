"""What `sparsify` was asked for: written to `args.yaml`, and what makes the same command go on."""

from dataclasses import dataclass

from depthfinder.arguments import NO_WIDTHS, RunArguments
from profiles.names import as_file_name


@dataclass(frozen=True, kw_only=True)
class SparsifyArguments(RunArguments):
    """Everything that decides which groups of weights go. `sparsity` None is what the granularity says by itself; there
    is no budget and no search for blocks."""

    budget_ms: str | None = None
    budget_ratio: float | None = None
    n_trials: int = 0
    widths: str = NO_WIDTHS
    method: str
    granularity: str
    sparsity: float | None
    epochs: int
    search_share: float

    @property
    def default_experiment(self) -> str:
        """A folder name that tells methods, granularities, sparsities and seeds apart."""
        share = "" if self.sparsity is None else f"-{self.sparsity:g}"
        return as_file_name(f"{self.model}-{self.method}-{self.granularity.replace(':', 'of')}{share}-s{self.seed}")
