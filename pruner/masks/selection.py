"""Which groups stay: the highest scores, of all layers together or of every few neighbours, softly or for good."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pruner.errors import SettingsError
from pruner.masks.topk import soft_topk

Scores = Mapping[str, Tensor]
"""Part -> a figure for each of its groups, (entries,); more is better."""


class Selection(ABC):
    """How many groups stay, and what they are ranked among. `ramp`, from 0 to 1, is how much of the way from all groups
    to that number is gone."""

    @property
    @abstractmethod
    def sparsity(self) -> float:
        """The share of all groups that go in the end."""

    @abstractmethod
    def hard(self, scores: Scores, ramp: float = 1.0) -> dict[str, Tensor]:
        """Part -> (entries,) bool: exactly as many groups as stay. Of equal scores the first stays."""

    @abstractmethod
    def soft(self, scores: Scores, tau: float) -> dict[str, Tensor]:
        """Part -> (entries,) in (0, 1), which sum up to how many groups stay."""

    @abstractmethod
    def kept(self, scores: Scores) -> dict[str, int]:
        """Part -> how many stay of each of its `rows`, as these scores have it."""

    @abstractmethod
    def rows(self, scores: Tensor) -> Tensor:
        """(entries,) of one part -> (rows, columns): what is ranked together within the part, in each row."""


@dataclass(frozen=True)
class Globally(Selection):
    """`keep` of all groups of all parts, of which there are `entries` by part; at least one in each part."""

    entries: Mapping[str, int]
    keep: int

    @property
    def total(self) -> int:
        return sum(self.entries.values())

    @property
    def sparsity(self) -> float:
        return 1 - self.keep / self.total

    def hard(self, scores: Scores, ramp: float = 1.0) -> dict[str, Tensor]:
        every = self._joined(scores).detach()
        chosen = torch.zeros_like(every, dtype=torch.bool)
        begin = 0
        for count in self.entries.values():
            chosen[begin + every[begin : begin + count].argmax()] = True
            begin += count
        keep = left_after(self.total, self.keep, ramp)
        # What no part can do without stands before all others.
        first = every.masked_fill(chosen, torch.inf)
        chosen[first.argsort(descending=True, stable=True)[:keep]] = True
        return self._apart(chosen)

    def soft(self, scores: Scores, tau: float) -> dict[str, Tensor]:
        return self._apart(soft_topk(self._joined(scores), float(self.keep), tau))

    def kept(self, scores: Scores) -> dict[str, int]:
        return {key: int(mask.sum()) for key, mask in self.hard(scores).items()}

    def rows(self, scores: Tensor) -> Tensor:
        return scores[None]

    def _joined(self, scores: Scores) -> Tensor:
        return torch.cat([scores[key] for key in self.entries])

    def _apart(self, every: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.entries, every.split(list(self.entries.values())), strict=True))


@dataclass(frozen=True)
class Within(Selection):
    """`keep` of every `size` neighbours."""

    keep: int
    size: int

    @property
    def sparsity(self) -> float:
        return 1 - self.keep / self.size

    def hard(self, scores: Scores, ramp: float = 1.0) -> dict[str, Tensor]:
        keep = left_after(self.size, self.keep, ramp)
        return {key: self._hard(self.rows(some.detach()), keep) for key, some in scores.items()}

    def soft(self, scores: Scores, tau: float) -> dict[str, Tensor]:
        return {key: soft_topk(self.rows(some), float(self.keep), tau).flatten() for key, some in scores.items()}

    def kept(self, scores: Scores) -> dict[str, int]:
        return dict.fromkeys(scores, self.keep)

    def rows(self, scores: Tensor) -> Tensor:
        return scores.reshape(-1, self.size)

    def _hard(self, rows: Tensor, keep: int) -> Tensor:
        best = rows.argsort(dim=1, descending=True, stable=True)[:, :keep]
        return (
            torch.zeros_like(rows, dtype=torch.bool).scatter(1, best, torch.ones_like(best, dtype=torch.bool)).flatten()
        )


def globally(entries: Mapping[str, int], sparsity: float) -> Globally:
    """What leaves the share `sparsity` of all groups out, to the nearest whole number of them.

    Raises `SettingsError` outside (0, 1), and when less than one group for each part is left.
    """
    if not 0 < sparsity < 1:
        raise SettingsError(f"a sparsity is a share in (0, 1), not {sparsity:g}")
    total = sum(entries.values())
    keep = total - round(total * sparsity)
    if keep < len(entries):
        raise SettingsError(
            f"a sparsity of {sparsity:g} leaves {keep} of {total} groups, and each of {len(entries)} layers needs one: "
            f"{1 - len(entries) / total:.3f} is the most"
        )
    return Globally(dict(entries), keep)


def left_after(total: int, keep: int, ramp: float) -> int:
    """How many of `total` are left when `ramp` of the way to `keep` is gone."""
    return total - round((total - keep) * ramp)
