"""The sums over rows that a least-squares fit needs, taken in one pass and in float64."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass
class Sums:
    """The weighted sums over rows of features x (n,) and targets y (m,), where a row has weight w.

    The memory does not depend on how many rows there are: it is about (n + 1)(n + 1 + m) numbers.

    Attributes:
        inner: (n + 1, n + 1), sum w [x 1]'[x 1].
        cross: (n + 1, m), sum w [x 1]'y.
        square: (m,), sum w y^2.
        rows: How many rows were added.

    Example:
        >>> import torch
        >>> from pruner.fitting.sums import Sums
        >>> sums = Sums.empty(features=1, targets=1)
        >>> sums.add(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [5.0]]))
        >>> sums.rows, sums.inner.tolist(), sums.cross.tolist()
        (2, [[5.0, 3.0], [3.0, 2.0]], [[13.0], [8.0]])
    """

    inner: Tensor
    cross: Tensor
    square: Tensor
    rows: int = 0

    @classmethod
    def empty(cls, features: int, targets: int, device: torch.device | None = None) -> "Sums":
        """The sums over no rows, of so many features (n) and targets (m)."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        return cls(zeros(features + 1, features + 1), zeros(features + 1, targets), zeros(targets))

    @property
    def features(self) -> int:
        """The number n of features, without the 1 for the bias."""
        return len(self.inner) - 1

    def add(self, x: Tensor, y: Tensor, weights: Tensor | None = None) -> None:
        """Adds rows to the sums.

        Args:
            x: The features (rows, n).
            y: The targets (rows, m).
            weights: The weight of each row (rows,), not negative; 1 for every row by default.
        """
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
        """The sums for some of the features alone, which a layer with fewer inputs is fitted by.

        Args:
            places: The indices of the features that are left.
        """
        places = torch.cat([places, places.new_tensor([self.features])])
        return Sums(self.inner[places][:, places], self.cross[places], self.square, self.rows)

    def of_targets(self, places: slice) -> "Sums":
        """The sums for some of the targets alone; the slice `places` says which."""
        return Sums(self.inner, self.cross[:, places], self.square[places], self.rows)

    def error(self, weight: Tensor, bias: Tensor) -> Tensor:
        """The weighted sum over the rows of (weight x + bias - y)^2, for each target.

        Args:
            weight: (m, n).
            bias: (m,).

        Returns:
            (m,) in float64.
        """
        both = torch.cat([weight, bias[:, None]], dim=1).double()
        explained = 2 * (both * self.cross.T).sum(1) - ((both @ self.inner) * both).sum(1)
        return (self.square - explained).clamp(min=0)

    @property
    def is_finite(self) -> bool:
        """Whether every feature and target that was added is finite."""
        return bool(torch.isfinite(self.square).all() and torch.isfinite(self.inner.diagonal()).all())
