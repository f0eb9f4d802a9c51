"""Data-independent importance: the formula by hand, its modules, and the harm that is made of it."""

import pytest
import torch

from networks import made
from pruner.choices.choice import DROP, KEEP, MERGE
from pruner.criteria.dimap import Dimap, importance
from pruner.network.sizes import parameters_by_choice
from pruner.network.surgery import supernet


def test_a_weight_counts_by_its_share_of_itself_and_of_all_that_are_larger() -> None:
    first, second = importance([torch.tensor([[3.0, -1.0]]), torch.tensor([2.0])])
    torch.testing.assert_close(first, torch.tensor([[9 / 9, 1 / 14]], dtype=torch.float64))
    torch.testing.assert_close(second, torch.tensor([4 / 13], dtype=torch.float64))


def test_a_module_is_compared_with_itself_alone() -> None:
    weights = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    (one,) = importance([weights])
    (scaled,) = importance([100 * weights])
    torch.testing.assert_close(one, scaled)
    together = importance([weights, 100 * weights])
    assert float(together[0].sum()) < float(one.sum())


def test_zeros_are_of_no_importance() -> None:
    (found,) = importance([torch.tensor([0.0, 0.0, 2.0])])
    assert found.tolist() == [0.0, 0.0, 1.0]
    (none,) = importance([torch.zeros(3)])
    assert none.tolist() == [0.0, 0.0, 0.0]


def test_the_harm_of_a_cut_is_the_importance_of_its_modules_times_what_goes() -> None:
    model = made("digits", seed=0)
    network = supernet(model)
    harm, sizes = Dimap().harm_of_cuts(network), parameters_by_choice(network)

    def of(*names: str) -> float:
        return sum(float(part.sum()) for part in importance([model.get_parameter(name) for name in names]))

    attention = of("blocks.1.attn.qkv.weight") + of("blocks.1.attn.proj.weight")
    assert harm["blocks.1.attn", DROP] == pytest.approx(attention)
    ffn = of("blocks.1.mlp.fc1.weight", "blocks.1.mlp.fc2.weight")
    left = sizes["blocks.1.mlp", MERGE] / sizes["blocks.1.mlp", KEEP]
    assert harm["blocks.1.mlp", DROP] == pytest.approx(ffn)
    assert harm["blocks.1.mlp", MERGE] == pytest.approx(ffn * (1 - left))
    assert 0 < harm["blocks.1.mlp", MERGE] < ffn
    assert all(lost == 0 for (_, choice), lost in harm.items() if choice == KEEP)
