"""The sums of a fit, and its answer: what `numpy.linalg.lstsq` finds for the rows themselves."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pruner.fitting.least_squares import fitted, solve
from pruner.fitting.sums import Sums

EXACT = 1e-9  # relative; condition numbers here are below 1e4, and rounding is 1e-16


def drawn(rows: int, features: int, targets: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows whose features lean on each other and have means, and targets that a layer does not quite make of them."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=random, dtype=torch.float64)
    x = torch.randn(rows, features, generator=random, dtype=torch.float64) @ mixing + 3
    y = x @ torch.randn(features, targets, generator=random, dtype=torch.float64) - 1
    return x, y + torch.randn(y.shape, generator=random), torch.rand(rows, generator=random, dtype=torch.float64) + 0.1


def sums_of(x: Tensor, y: Tensor, weights: Tensor | None = None, parts: int = 3) -> Sums:
    """In several parts, as images come."""
    found = Sums.empty(x.shape[1], y.shape[1])
    for rows in torch.arange(len(x)).chunk(parts):
        found.add(x[rows], y[rows], None if weights is None else weights[rows])
    return found


def by_lstsq(x: Tensor, y: Tensor, weights: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """The ridge as rows of its own, the bias as a feature that it does not shrink."""
    mean = (weights[:, None] * x).sum(0) / weights.sum()
    variance = (weights[:, None] * (x - mean).square()).sum(0).mean()
    roots = weights.sqrt()[:, None]
    shrinking = torch.eye(x.shape[1], dtype=torch.float64) * (ridge * variance).sqrt()
    above = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], 1) * roots
    below = torch.cat([shrinking, torch.zeros(x.shape[1], 1, dtype=torch.float64)], 1)
    wanted = torch.cat([y * roots, torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64)])
    found = torch.from_numpy(np.linalg.lstsq(torch.cat([above, below]).numpy(), wanted.numpy(), rcond=None)[0])
    return found[:-1].T, found[-1]


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_answer_is_that_of_lstsq(ridge: float, seed: int) -> None:
    x, y, weights = drawn(200, 7, 4, seed)
    found, expected = solve(sums_of(x, y, weights), ridge), by_lstsq(x, y, weights, ridge)
    assert found is not None
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=EXACT, atol=EXACT * float(other.abs().max()))


def test_the_error_is_that_of_the_rows() -> None:
    x, y, _ = drawn(50, 5, 3, 0)
    found = solve(sums_of(x, y), 1e-2)
    assert found is not None
    others = drawn(40, 5, 3, 1)
    expected = (others[2][:, None] * (others[0] @ found[0].T + found[1] - others[1]).square()).sum(0)
    assert torch.allclose(sums_of(*others).error(*found), expected, rtol=EXACT)


def test_sums_of_some_features_and_targets_are_those_of_their_columns() -> None:
    x, y, weights = drawn(60, 6, 4, 2)
    some = torch.tensor([4, 1, 5])
    found = sums_of(x, y, weights).of_features(some).of_targets(slice(1, 3))
    expected = sums_of(x[:, some], y[:, 1:3], weights)
    for one, other in ((found.inner, expected.inner), (found.cross, expected.cross), (found.square, expected.square)):
        assert torch.allclose(one, other, rtol=EXACT)
    assert found.rows == expected.rows == 60


def test_a_feature_that_never_varies_has_no_weight() -> None:
    x, y, weights = drawn(80, 5, 3, 3)
    x[:, 2] = 7.0
    found = solve(sums_of(x, y, weights), 0.0)
    assert found is not None
    assert not found[0][:, 2].any()
    expected = by_lstsq(torch.cat([x[:, :2], x[:, 3:]], 1), y, weights, 0.0)
    assert torch.allclose(found[0][:, [0, 1, 3, 4]], expected[0], rtol=1e-7)
    nothing = solve(sums_of(torch.ones(9, 2), torch.full((9, 1), 5.0)), 1e-3)
    assert nothing is not None
    assert not nothing[0].any()
    assert nothing[1].tolist() == pytest.approx([5.0])


def test_the_ridge_is_chosen_on_rows_set_apart() -> None:
    """Where noise is most of what there is, few rows call for a large ridge: a layer through all of them means nothing.
    Many rows do with less."""
    x, y, _ = drawn(4000, 30, 2, 4)
    y = y + 50 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    few, many, apart = sums_of(x[:40], y[:40]), sums_of(x[:3000], y[:3000]), sums_of(x[3000:], y[3000:])
    (scarce,), (ample,) = fitted(few, apart, [slice(None)]), fitted(many, apart, [slice(None)])
    assert scarce.ridge > ample.ridge
    assert ample.error < scarce.error
    by_hand = min(
        float(apart.error(*layer).sum() / apart.square.sum())
        for ridge in (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
        if (layer := solve(few, ridge)) is not None
    )
    assert scarce.error == pytest.approx(by_hand)
    layer = solve(few + apart, scarce.ridge)
    assert layer is not None
    assert torch.equal(scarce.weight, layer[0])


def test_without_rows_there_is_no_fit() -> None:
    x, y, _ = drawn(9, 2, 2, 5)
    with pytest.raises(ValueError, match="no rows"):
        fitted(sums_of(x, y), Sums.empty(2, 2), [slice(None)])
