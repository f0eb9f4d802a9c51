"""The sums that a least-squares fit needs to know of its rows, taken in one pass and in float64."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass
class Sums:
    """Of rows of features x (n,) and targets y (m,) that count for w: sum w [x 1]'[x 1], sum w [x 1]'y and sum w y^2.

    However many rows there were, it takes (n + 1)(n + 1 + m) numbers. `rows` says how many there were.
    """

    inner: Tensor
    cross: Tensor
    square: Tensor
    rows: int = 0

    @classmethod
    def empty(cls, features: int, targets: int, device: torch.device | None = None) -> "Sums":
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        return cls(zeros(features + 1, features + 1), zeros(features + 1, targets), zeros(targets))

    @property
    def features(self) -> int:
        return len(self.inner) - 1

    def add(self, x: Tensor, y: Tensor, weights: Tensor | None = None) -> None:
        """Rows of features (rows, n) and of targets (rows, m), and what each counts for (rows,): 1 by default."""
        x = functional.pad(x.double(), (0, 1), value=1.0)
        y = y.double()
        if weights is not None:
            roots = weights.double().sqrt()[:, None]
            x, y = x * roots, y * roots
        self.inner.addmm_(x.T, x)
        self.cross.addmm_(x.T, y)
        self.square += y.square().sum(0)
        self.rows += len(x)

    def __add__(self, other: "Sums") -> "Sums":
        """The sums over the rows of both."""
        return Sums(
            self.inner + other.inner, self.cross + other.cross, self.square + other.square, self.rows + other.rows
        )

    def of_features(self, places: Tensor) -> "Sums":
        """The same of some of the features alone: what a layer with fewer inputs is fitted by."""
        places = torch.cat([places, places.new_tensor([self.features])])
        return Sums(self.inner[places][:, places], self.cross[places], self.square, self.rows)

    def of_targets(self, places: slice) -> "Sums":
        """The same of some of the targets alone."""
        return Sums(self.inner, self.cross[:, places], self.square[places], self.rows)

    def error(self, weight: Tensor, bias: Tensor) -> Tensor:
        """(m,) the sum over the rows of (weight x + bias - y)^2, for each target."""
        both = torch.cat([weight, bias[:, None]], dim=1).double()
        explained = 2 * (both * self.cross.T).sum(1) - ((both @ self.inner) * both).sum(1)
        return (self.square - explained).clamp(min=0)

    @property
    def is_finite(self) -> bool:
        """Whether every number that was added was one."""
        return bool(torch.isfinite(self.square).all() and torch.isfinite(self.inner.diagonal()).all())
