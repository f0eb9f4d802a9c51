"""Which groups stay: those with the highest scores, over all layers or among neighbours, in hard or in soft masks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pruner.errors import SettingsError
from pruner.masks.topk import soft_topk

Scores = Mapping[str, Tensor]
"""Part -> the score of each of its groups, (entries,); higher is better."""


class Selection(ABC):
    """How many groups stay, and which groups are ranked together."""

    @property
    @abstractmethod
    def sparsity(self) -> float:
        """The share of all groups that are removed in the end."""

    @abstractmethod
    def hard(self, scores: Scores, ramp: float = 1.0) -> dict[str, Tensor]:
        """The hard masks, with exactly as many groups as stay. Of equal scores the first stays.

        Args:
            scores: Part -> (entries,).
            ramp: How far the number of groups has come from all of them, at 0, to those that stay in the end, at 1.

        Returns:
            Part -> (entries,) bool.
        """

    @abstractmethod
    def soft(self, scores: Scores, tau: float) -> dict[str, Tensor]:
        """The soft masks, which sum to the number of groups that stay.

        Args:
            scores: Part -> (entries,), which learn through the masks.
            tau: The temperature; the masks become hard as it falls to 0.

        Returns:
            Part -> (entries,) in [0, 1].
        """

    @abstractmethod
    def kept(self, scores: Scores) -> dict[str, int]:
        """Part -> how many groups stay in each of its `rows`, by these scores."""

    @abstractmethod
    def rows(self, scores: Tensor) -> Tensor:
        """Reshapes the scores (entries,) of one part to (rows, columns): the groups of a row are ranked together."""


@dataclass(frozen=True)
class Globally(Selection):
    """Keeps the best groups of all parts together, and at least one in each part.

    Attributes:
        entries: Part -> how many groups it has.
        keep: How many groups stay in all.
    """

    entries: Mapping[str, int]
    keep: int

    @property
    def total(self) -> int:
        """How many groups there are in all parts."""
        return sum(self.entries.values())

    @property
    def sparsity(self) -> float:
        """The share of all groups that are removed in the end."""
        return 1 - self.keep / self.total

    def hard(self, scores: Scores, ramp: float = 1.0) -> dict[str, Tensor]:
        """The hard masks: the best group of each part, and the best of all others."""
        every = self._joined(scores).detach()
        chosen = torch.zeros_like(every, dtype=torch.bool)
        begin = 0
        for count in self.entries.values():
            chosen[begin + every[begin : begin + count].argmax()] = True
            begin += count
        keep = left_after(self.total, self.keep, ramp)
        # The best group of each part stands before all others.
        first = every.masked_fill(chosen, torch.inf)
        chosen[first.argsort(descending=True, stable=True)[:keep]] = True
        return self._apart(chosen)

    def soft(self, scores: Scores, tau: float) -> dict[str, Tensor]:
        """The soft masks by one soft top-k over all parts. Unlike in `hard`, a part may be left without a group."""
        return self._apart(soft_topk(self._joined(scores), float(self.keep), tau))

    def kept(self, scores: Scores) -> dict[str, int]:
        """Part -> how many of its groups stay, by these scores."""
        return {key: int(mask.sum()) for key, mask in self.hard(scores).items()}

    def rows(self, scores: Tensor) -> Tensor:
        """All groups of the part in one row, (1, entries)."""
        return scores[None]

    def _joined(self, scores: Scores) -> Tensor:
        return torch.cat([scores[key] for key in self.entries])

    def _apart(self, every: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.entries, every.split(list(self.entries.values())), strict=True))


@dataclass(frozen=True)
class Within(Selection):
    """Keeps the best `keep` of every `size` neighbours."""

    keep: int
    size: int

    @property
    def sparsity(self) -> float:
        """The share of all groups that are removed in the end."""
        return 1 - self.keep / self.size

    def hard(self, scores: Scores, ramp: float = 1.0) -> dict[str, Tensor]:
        """The hard masks: the best of every `size` neighbours."""
        keep = left_after(self.size, self.keep, ramp)
        return {key: self._hard(self.rows(some.detach()), keep) for key, some in scores.items()}

    def soft(self, scores: Scores, tau: float) -> dict[str, Tensor]:
        """The soft masks by a soft top-k over every `size` neighbours."""
        return {key: soft_topk(self.rows(some), float(self.keep), tau).flatten() for key, some in scores.items()}

    def kept(self, scores: Scores) -> dict[str, int]:
        """Part -> `keep`, whatever the scores are."""
        return dict.fromkeys(scores, self.keep)

    def rows(self, scores: Tensor) -> Tensor:
        """The neighbours in a row each, (rows, size)."""
        return scores.reshape(-1, self.size)

    def _hard(self, rows: Tensor, keep: int) -> Tensor:
        best = rows.argsort(dim=1, descending=True, stable=True)[:, :keep]
        return (
            torch.zeros_like(rows, dtype=torch.bool).scatter(1, best, torch.ones_like(best, dtype=torch.bool)).flatten()
        )


def globally(entries: Mapping[str, int], sparsity: float) -> Globally:
    """The selection that removes a share of all groups, to the nearest whole number of them.

    Args:
        entries: Part -> how many groups it has.
        sparsity: The share of groups to remove, in (0, 1).

    Raises:
        SettingsError: when the share is outside (0, 1), or fewer groups are left than there are parts.

    Example:
        >>> import torch
        >>> from pruner.masks.selection import globally
        >>> masks = globally({"a": 2, "b": 2}, 0.5).hard({"a": torch.tensor([4.0, 3.0]), "b": torch.tensor([1.0, 2.0])})
        >>> {part: mask.tolist() for part, mask in masks.items()}
        {'a': [True, False], 'b': [False, True]}
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
    """How many of `total` groups are left on a linear ramp from all of them, at 0, to `keep` of them, at 1."""
    return total - round((total - keep) * ramp)
