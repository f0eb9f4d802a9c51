"""Which networks are measured: every choice of every kind of block stands in some of those that are fitted."""

from collections import Counter

import pytest

from latency.design import designed_plans
from networks import made
from pruner.choices.choice import DROP
from pruner.models.load import load_model
from pruner.network.surgery import describe


@pytest.mark.parametrize("model", ["resnet18", "mobilenetv2_100", "convnext_atto", "test_vit"])
def test_every_choice_is_fitted_somewhere(model: str) -> None:
    chain = describe(load_model(model, img_size=64) if model != "test_vit" else load_model(model))
    designed = designed_plans(chain, 24, 8, seed=3)
    plans = (*designed.fitted, *designed.held_out)
    assert (len(designed.fitted), len(designed.held_out), len(set(plans))) == (24, 8, 32)
    assert not designed.fitted[0].choices
    stands = Counter((b.signature, plan.choice_of(b.name)) for plan in designed.fitted for b in chain.blocks)
    for block in chain.blocks:
        for choice in block.choices:
            assert choice == DROP or stands[block.signature, choice] >= 1, f"{choice} of {block.name}"


def test_a_short_chain_has_fewer_networks_and_still_some_that_judge() -> None:
    chain = describe(load_model("deit_digits", depth=1))
    designed = designed_plans(chain, 24, 8, seed=0)
    plans = (*designed.fitted, *designed.held_out)
    assert len(set(plans)) == len(plans) == chain.num_plans == 6
    assert len(designed.fitted) >= 2
    assert designed.held_out


def test_the_same_seed_designs_the_same_networks() -> None:
    chain = describe(made("deit", 0))
    assert designed_plans(chain, 12, 4, seed=1) == designed_plans(chain, 12, 4, seed=1)
    assert designed_plans(chain, 12, 4, seed=1) != designed_plans(chain, 12, 4, seed=2)
