"""What blocks have on request is offered to whoever names it, and to nobody else."""

from random import Random

import pytest

from networks import made
from profiles.store import shipped_profiles
from pruner.choices.choice import SHARES
from pruner.models.load import load_model
from pruner.network.sizes import parameters_by_choice
from pruner.network.surgery import apply, describe, supernet
from pruner.training.supernet import most_pruned


def test_what_is_named_stands_among_the_choices_before_drop() -> None:
    model = made("deit", 0)
    usual, asked = describe(model), describe(model, ["thin", "narrow", "merge-act", "merge"])
    for one, other in zip(usual.blocks, asked.blocks, strict=True):
        if one.kind == "vit.attn":
            assert (one.choices, one.on_request) == (("keep", "drop"), ("narrow", "thin", "narrow-50", "fit"))
            assert (other.choices, other.on_request) == (("keep", "narrow", "thin", "drop"), ("narrow-50", "fit"))
        else:
            assert (one.choices, one.on_request) == (("keep", "merge", "drop"), ("merge-act", *SHARES, "fit"))
            assert (other.choices, other.on_request) == (("keep", "merge", "merge-act", "drop"), (*SHARES, "fit"))
        assert (one.name, one.signature, one.refused) == (other.name, other.signature, other.refused)
    only = describe(model, ["narrow"])
    assert only.blocks[0].choices == ("keep", "narrow", "drop")
    assert not only.thinning
    assert most_pruned(asked) == most_pruned(usual)


def test_a_block_that_cannot_be_dropped_has_it_last() -> None:
    block = next(b for b in describe(load_model("mobilenetv2_050", img_size=32), ["merge-act"]).blocks if b.choices[1:])
    assert block.choices[-1] == "merge-act"
    assert "drop" not in block.choices


def test_whoever_names_nothing_has_the_chain_that_tables_were_made_for() -> None:
    model = made("deit", 0)
    assert describe(model, ()) == describe(model, ["no such choice"]) == describe(model)
    asked = describe(model, ["narrow", "narrow-50"])
    assert asked.fingerprint == describe(model).fingerprint, "it is one network, whatever is asked of it"
    assert asked.taking_back(["narrow", "narrow-50"]).fingerprint == asked.fingerprint
    offered = [block.choices for block in asked.taking_back(["narrow", "narrow-50"]).blocks]
    assert offered == [block.choices for block in describe(model).blocks] != [block.choices for block in asked.blocks]
    tables = {table.model: table for _, table in shipped_profiles()}
    for name in ("deit_tiny_patch16_224", "mobilenetv2_100"):
        assert tables[name].fingerprint == describe(load_model(name, **tables[name].model_kwargs)).fingerprint


@pytest.mark.parametrize("extra_choices", [(), ("narrow", "thin", "merge-act")])
def test_a_plan_may_ask_for_it_however_the_network_was_opened(extra_choices: tuple[str, ...]) -> None:
    model = made("deit", 0)
    asked = describe(model, ["narrow", "thin", "merge-act"])
    network = supernet(model, extra_choices)
    for seed in range(5):
        plan = asked.random_plan(0.7, Random(seed))
        network.select(plan)
        assert apply(model, plan).plan == plan


def test_its_size_is_counted() -> None:
    sizes = parameters_by_choice(supernet(made("deit", 0), ["narrow", "thin"]))
    whole, half = sizes["blocks.0.attn", "keep"], sizes["blocks.0.attn", "narrow"]
    assert sizes["blocks.0.attn", "thin"] == whole
    assert whole - half == 24 * 12 * 4 + 12 * 3  # of 24 x 24 matrices and their biases, but for the projection's
