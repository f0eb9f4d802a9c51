"""Samplers that know gains: the exact optimum for scores that add up, by single cuts, and once."""

import itertools

import pytest

from latency.devices.null import Null
from latency.profiler import profile
from networks import made
from pruner.choices.choice import KEEP
from pruner.choices.plan import Plan
from pruner.network.surgery import describe
from pruner.scoring.score import Score
from search.candidate import SearchResult
from search.gate_costs import gate_costs
from search.limits import LatencyLimit
from search.samplers import ByGains, BySingleScores
from search.samplers.sampler import Sampler
from search.search import Stop, search
from search.space import Cut, Space
from search.storage.ledger import Ledger, in_memory
from tables import DIGITS

PLANS = [
    DIGITS.chain.plan(dict(zip([block.name for block in DIGITS.chain.blocks], way, strict=True)))
    for way in itertools.product(*(block.choices for block in DIGITS.chain.blocks))
]


def within(share: float) -> Space:
    return Space.of(DIGITS.chain, [LatencyLimit(DIGITS.table, share * DIGITS.uncut_ms)])


def lost(cut: Cut) -> float:
    """Of each block something else, of a merged one less."""
    place = [block.name for block in DIGITS.chain.blocks].index(cut[0])
    return (1 + (3 * place) % 7) * (0.6 if cut[1] == "merge" else 1.0)


def score(plan: Plan) -> Score:
    return Score(1 - 0.01 * sum(lost(cut) for cut in plan.choices.items()))


def searched(sampler: Sampler, space: Space, n_trials: int = 40) -> SearchResult:
    ledger = Ledger(in_memory(), "study", {}, patience_s=0)
    evaluate = lambda plans, _bar: [score(plan) for plan in plans]  # noqa: E731
    return search(space, evaluate=evaluate, ledger=ledger, sampler=sampler, stop=Stop(n_trials))


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5])
def test_known_gains_that_add_up_lead_to_the_best_plan_at_once(share: float) -> None:
    space = within(share)
    found = searched(ByGains({cut: -lost(cut) for cut in space.cuts}, "known"), space)
    assert found.num_evaluations == 1
    assert found.best.how == "known"
    assert found.best.score == pytest.approx(max(score(plan).value for plan in PLANS if space.admits(plan)))
    assert found.stopped == ByGains.exhausted


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5])
def test_single_scores_that_add_up_lead_to_the_best_plan(share: float) -> None:
    space = within(share)
    found = searched(BySingleScores(), space)
    assert found.best.score == pytest.approx(max(score(plan).value for plan in PLANS if space.admits(plan)))
    singles = {one.plan for one in (*found.candidates, *found.others) if one.how == "single"}
    assert singles == {space.uncut, *(DIGITS.chain.plan(dict([cut])) for cut in space.cuts)}
    # One cut may be enough, and was evaluated then.
    assert found.num_evaluations == len(singles | {found.best.plan})


def test_what_no_limit_needs_is_not_cut_however_sure_of_it_the_gains_are() -> None:
    """Gains of gates say what they would rather have, not that less is better."""
    space = within(0.8)
    plan = searched(ByGains(dict.fromkeys(space.cuts, 1.0), "gate"), space).best.plan
    for block in plan.choices:
        more_kept = DIGITS.chain.plan({name: choice for name, choice in plan.choices.items() if name != block})
        assert not space.admits(more_kept)


def test_the_least_sure_cuts_are_taken_back_first() -> None:
    space = within(0.99)
    gains = {cut: 1.0 + place for place, cut in enumerate(space.cuts)}
    plan = searched(ByGains(gains, "gate"), space).best.plan
    assert list(plan.choices) == [DIGITS.chain.blocks[-1].name]


def test_what_is_to_be_dropped_is_not_merged_for_there_being_room() -> None:
    """A merged block takes a little more than a dropped one: enough room for that is no reason to merge it."""
    wanted = DIGITS.chain.plan({"blocks.2.mlp": "drop", "blocks.3.mlp": "drop"})
    room = DIGITS.chain.plan({"blocks.2.mlp": "drop", "blocks.3.mlp": "merge"})
    space = within(DIGITS.table.latency_ms(room) / DIGITS.uncut_ms * (1 + 1e-12))
    assert space.admits(room)
    gains = {cut: 1.0 if cut in wanted.choices.items() else -5.0 for cut in space.cuts}
    assert searched(ByGains(gains, "gate"), space).best.plan == wanted


def test_a_cut_without_a_gain_is_not_made() -> None:
    space = within(0.7)
    known = {cut: -lost(cut) for cut in space.cuts if "attn" in cut[0]}
    with_all = {cut: known.get(cut, -100.0) for cut in space.cuts}
    found = searched(ByGains(known, "gate"), space).best.plan
    assert found == searched(ByGains(with_all, "gate"), space).best.plan
    enough = searched(ByGains(known, "gate"), within(0.95)).best.plan
    assert enough.choices
    assert all(name.endswith("attn") for name in enough.choices)


def test_gates_are_told_what_the_table_says() -> None:
    space = within(0.7)
    costs = gate_costs(space)
    assert costs.needed_ms == pytest.approx(0.3 * DIGITS.uncut_ms)
    for block in DIGITS.chain.blocks:
        saved = costs.saved_ms[block.name]
        assert list(saved) == list(block.choices)
        for choice, ms in saved.items():
            alone = DIGITS.table.latency_ms(DIGITS.chain.plan({block.name: choice}))
            assert ms == pytest.approx(DIGITS.uncut_ms - alone, abs=1e-12)


def test_what_saves_nothing_is_not_for_gates_to_choose() -> None:
    kept = Space.of(
        DIGITS.chain,
        [LatencyLimit(DIGITS.table, 0.9 * DIGITS.uncut_ms)],
        keep=["blocks.0", "blocks.2.mlp"],
    )
    assert set(gate_costs(kept).saved_ms) == {
        block.name
        for block in DIGITS.chain.blocks
        if not block.name.startswith("blocks.0") and block.name != "blocks.2.mlp"
    }
    convnext = made("convnext", 0)
    chain, table = describe(convnext), profile(convnext, Null(), max_seconds=0.1)
    space = Space.of(chain, [LatencyLimit(table, 0.9 * table.latency_ms(Plan(chain.model)))])
    costs = gate_costs(space)
    dearer = [(block, choice) for block, choice in space.cuts if space.limits[0].saved(block, choice) <= 0]
    assert dearer, "a dense 7x7 has more parameters than the block it replaces"
    assert not [cut for cut in dearer if cut[1] in costs.saved_ms.get(cut[0], {})]
    assert all(KEEP in saved for saved in costs.saved_ms.values())
