"""What may be proposed: blocks that are kept, choices that are allowed, limits on counts, and plans as vectors."""

import itertools
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency.devices.null import Null
from latency.profiler import profile
from networks import made
from profiles.store import shipped_profiles
from pruner.choices.chain import Block, Chain
from pruner.choices.choice import KEEP, MERGE
from pruner.choices.plan import Plan
from pruner.errors import PlanError
from pruner.models.load import load_model
from pruner.network.surgery import describe
from search.limits import CountLimit, LatencyLimit, SizeLimit, latency_limits_by
from search.space import Space
from tables import DEIT


def kept_blocks(space: Space) -> set[str]:
    return {block for block, choices in space.choices.items() if choices == (KEEP,)}


def plans_of(space: Space) -> list[Plan]:
    """All that the choices allow, whatever the limits say."""
    ways = itertools.product(*space.choices.values())
    return [space.chain.plan(dict(zip(space.choices, way, strict=True))) for way in ways]


def test_without_wishes_everything_is_offered() -> None:
    space = Space.of(DEIT.chain, [])
    assert space.choices == {block.name: block.choices for block in DEIT.chain.blocks}
    assert space.num_plans == DEIT.chain.num_plans == len(set(plans_of(space)))
    assert all(space.admits(plan) for plan in plans_of(space))
    assert space.uncut == Plan(DEIT.chain.model)


def test_blocks_are_kept_by_name_and_by_the_path_they_lie_under() -> None:
    assert kept_blocks(Space.of(DEIT.chain, [], keep=["blocks.1.mlp"])) == {"blocks.1.mlp"}
    assert kept_blocks(Space.of(DEIT.chain, [], keep=["blocks.1"])) == {"blocks.1.attn", "blocks.1.mlp"}
    both = Space.of(DEIT.chain, [], keep=["blocks.0", "blocks.2.attn"])
    assert kept_blocks(both) == {"blocks.0.attn", "blocks.0.mlp", "blocks.2.attn"}
    assert kept_blocks(Space.of(DEIT.chain, [], keep=["blocks"])) == {block.name for block in DEIT.chain.blocks}


def test_a_path_is_not_the_beginning_of_a_word() -> None:
    blocks = tuple(Block(f"blocks.{index}", "ffn", "ffn", (KEEP, "drop")) for index in range(12))
    chain = Chain("deep", "vit", (3, 1, 1), blocks)
    assert kept_blocks(Space.of(chain, [], keep=["blocks.1"])) == {"blocks.1"}


def test_cuts_that_save_nothing_of_what_is_too_much_are_of_no_use() -> None:
    """The 5x5 convolutions that a ResNet's blocks merge to take longer on an MI100 than the 3x3 ones they stand for."""
    (table,) = (
        table
        for _, table in shipped_profiles()
        if (table.model, table.setting.device, table.setting.dtype, table.setting.batch_size)
        == ("resnet34", "mi100", "fp32", 128)
    )
    chain = describe(load_model("resnet34"))
    assert chain.fingerprint == table.fingerprint
    space = Space.of(chain, latency_limits_by(table, 0.8 * table.uncut_ms))
    useful = space.without_dominated_cuts()
    assert sum(MERGE in ways for ways in space.choices.values()) == len(chain.blocks)
    assert not any(MERGE in ways for ways in useful.choices.values())
    for block, ways in space.choices.items():
        assert useful.choices[block] == tuple(way for way in ways if way != MERGE)
    enough = Space.of(chain, latency_limits_by(table, table.uncut_ms))
    assert enough.without_dominated_cuts() is enough


@pytest.mark.parametrize("unknown", ["blocks.3", "blocks.1.ml", "block", "", "mlp"])
def test_a_name_that_no_block_has_is_refused(unknown: str) -> None:
    with pytest.raises(PlanError, match=rf"no block '{unknown}' to keep; it has blocks\.0\.attn \.\.\. blocks\.2\.mlp"):
        Space.of(DEIT.chain, [], keep=["blocks.0", unknown])


def test_only_the_choices_that_are_allowed_are_made() -> None:
    space = Space.of(DEIT.chain, [], only=["merge"])
    assert set(space.choices["blocks.0.mlp"]) == {KEEP, "merge"}
    assert set(space.choices["blocks.0.attn"]) == {KEEP}
    assert {choice for _, choice in space.cuts} == {"merge"}
    assert not space.admits(DEIT.chain.plan({"blocks.0.mlp": "drop"}))
    assert set(Space.of(DEIT.chain, [], only=["keep", "drop"]).choices["blocks.0.mlp"]) == {KEEP, "drop"}


def test_a_choice_that_no_block_offers_is_refused() -> None:
    with pytest.raises(PlanError, match=r"no block of .* offers 'shrink'; there are: drop, keep, merge"):
        Space.of(DEIT.chain, [], only=["merge", "shrink"])


def test_what_is_kept_is_cut_by_no_plan() -> None:
    space = Space.of(DEIT.chain, [], keep=["blocks.1"])
    assert not space.admits(DEIT.chain.plan({"blocks.1.attn": "drop"}))
    assert space.admits(DEIT.chain.plan({"blocks.0.attn": "drop"}))


@pytest.mark.parametrize("most", [0, 1, 4])
def test_no_more_blocks_are_cut_than_are_allowed(most: int) -> None:
    space = Space.of(DEIT.chain, [], max_pruned=most)
    for plan in plans_of(space):
        assert space.admits(plan) == (len(plan.choices) <= most)


@pytest.mark.parametrize(
    ("shape", "stages"),
    [
        ("deit", {"blocks": 6}),
        ("basic", {"layer1": 2, "layer2": 1, "layer3": 2, "layer4": 1}),
        ("convnext", {"stages.0.blocks": 1, "stages.1.blocks": 2, "stages.2.blocks": 2, "stages.3.blocks": 1}),
    ],
)
def test_stages_are_found_in_the_names_of_blocks(shape: str, stages: dict[str, int]) -> None:
    space = Space.of(describe(made(shape, 0)), [], keep_one_per_stage=True)
    counted = {limit.where: len(limit.blocks) for limit in space.limits if isinstance(limit, CountLimit)}
    assert counted == stages
    assert all(limit.bound == counted[limit.where] - 1 for limit in space.limits if isinstance(limit, CountLimit))


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("layer2.0", "layer2"),
        ("stages.0.blocks.1", "stages.0.blocks"),
        ("blocks.0.1", "blocks.0"),
        ("blocks.3.mlp", "blocks"),
        ("blocks.11.attn", "blocks"),
    ],
)
def test_the_stage_of_a_name(name: str, stage: str) -> None:
    chain = Chain("one", "any", (3, 1, 1), (Block(name, "kind", "signature", (KEEP, "drop")),))
    (limit,) = Space.of(chain, [], keep_one_per_stage=True).limits
    assert isinstance(limit, CountLimit)
    assert limit.where == stage


def test_every_stage_keeps_a_block() -> None:
    chain = describe(made("basic", 0))
    space = Space.of(chain, [], keep_one_per_stage=True, only=["drop", "shrink"])
    for plan in plans_of(space):
        left = {name.partition(".")[0] for name in space.choices if plan.choice_of(name) == KEEP}
        assert space.admits(plan) == (left == {"layer1", "layer2", "layer3", "layer4"})


def test_plans_are_vectors_and_back() -> None:
    space = Space.of(DEIT.chain, [])
    assert len(space.cuts) == sum(len(block.choices) - 1 for block in DEIT.chain.blocks)
    vectors = [space.vector(plan) for plan in plans_of(space)]
    assert [space.plan(vector) for vector in vectors] == plans_of(space)
    assert len({vector.tobytes() for vector in vectors}) == DEIT.chain.num_plans
    for plan, vector in zip(plans_of(space), vectors, strict=True):
        assert vector.sum() == len(plan.choices)
        assert {space.cuts[index] for index in np.flatnonzero(vector)} == set(plan.choices.items())


def test_places_and_kinds_go_with_the_cuts() -> None:
    space = Space.of(DEIT.chain, [])
    for (block, choice), place, kind in zip(space.cuts, space.places, space.kinds, strict=True):
        assert DEIT.chain.blocks[place].name == block
        assert kind == (DEIT.chain.blocks[place].kind, choice)


def test_savings_say_how_amounts_fall() -> None:
    sizes = {(block.name, choice): 10.0 * len(choice) for block in DEIT.chain.blocks for choice in block.choices}
    limits = [LatencyLimit(DEIT.table, 0.5 * DEIT.uncut_ms), SizeLimit("letters", 7.0, 1000.0, sizes)]
    space = Space.of(DEIT.chain, limits, max_pruned=2)
    assert space.savings.shape == (3, len(space.cuts))
    assert space.needed == pytest.approx([0.5 * DEIT.uncut_ms, 993.0, -2.0])
    for index, cut in enumerate(np.eye(len(space.cuts))):
        for row, limit in enumerate(space.limits):
            fallen = limit.amount(space.uncut) - limit.amount(space.plan(cut))
            assert space.savings[row, index] == pytest.approx(fallen)


def test_other_limits_take_the_place_of_those_there_were() -> None:
    space = Space.of(DEIT.chain, [LatencyLimit(DEIT.table, 0.5 * DEIT.uncut_ms)], keep=["blocks.0"])
    other = LatencyLimit(DEIT.table, DEIT.uncut_ms)
    assert space.within([other]).limits == (other,)
    assert space.within([other]).choices == space.choices
    assert space.savings.shape == space.within([other]).savings.shape


def wasted(space: Space, plan: Plan) -> list[tuple[str, str]]:
    """The blocks that could have kept more with nothing else changed, and what they could have been."""
    found = []
    for block, allowed in space.choices.items():
        for choice in allowed[: allowed.index(plan.choice_of(block))]:
            fuller = space.chain.plan({**plan.choices, block: choice})
            if all(limit.admits(fuller) for limit in space.limits):
                found.append((block, choice))
    return found


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 1.1), st.integers(0, 10**6))
def test_a_thinned_plan_cuts_nothing_that_need_not_be(share: float, seed: int) -> None:
    random = Random(seed)
    space = Space.of(DEIT.chain, [LatencyLimit(DEIT.table, share * DEIT.uncut_ms)], max_pruned=5)
    within = [plan for plan in plans_of(space) if space.admits(plan)]
    if not within:
        return
    plan = random.choice(within)
    thinned = space.thinned(plan, random)
    assert space.admits(thinned)
    assert not wasted(space, thinned)
    for block, choices in space.choices.items():
        assert choices.index(thinned.choice_of(block)) <= choices.index(plan.choice_of(block))


def test_nothing_is_wasted_where_a_cut_may_be_slower_than_the_block() -> None:
    model = made("basic", 0)
    chain, table = describe(model), profile(model, Null(), max_seconds=0.1)
    slower = table.block_ms("layer1.0", "merge") - table.block_ms("layer1.0", KEEP)
    assert slower > 0, "some merged convolutions are larger than the two they come from"
    random = Random(0)
    for _ in range(200):
        plan = chain.random_plan(0.7, random)
        space = Space.of(chain, [LatencyLimit(table, table.latency_ms(plan) * random.uniform(1, 1.1))])
        assert not wasted(space, space.thinned(plan, random))
